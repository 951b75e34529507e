"""ng messages for tests, as Kamailio and OpenSIPS write them: keys in the order in which they were put in."""

from typing import Any

from hypothesis import strategies as st

from nh.results import Result
from nh.wire import ng
from nh.wire.ng import bencode

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

MAX_BYTES = 65_000


def written(value: object) -> bytes:
    """The bencode of a value, keys unsorted; apart from nh's own writer."""
    match value:
        case dict():
            return b"d" + b"".join(written(key) + written(item) for key, item in value.items()) + b"e"
        case list():
            return b"l" + b"".join(map(written, value)) + b"e"
        case int():
            return b"i%de" % value
        case str():
            return written(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
    raise TypeError(value)


def payload(command: str, **fields: Any) -> bytes:
    """A request's payload; `_` in a field's name stands for the hyphen."""
    return written({**{name.replace("_", "-"): value for name, value in fields.items()}, "command": command})


def offer(**fields: Any) -> bytes:
    """An offer with all that is needed."""
    return payload("offer", **{"sdp": SDP, "call_id": b"call", "from_tag": b"a", **fields})


def answer(**fields: Any) -> bytes:
    """An answer with all that is needed."""
    return payload("answer", **{"sdp": SDP, "call_id": b"call", "from_tag": b"a", "to_tag": b"b", **fields})


def reply(request: bytes, result: Result) -> Any:
    """The reply to a request's payload, with text as bytes."""
    return bencode.decode(ng.encode_reply(ng.decode_request(request), result, MAX_BYTES))


values: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.integers(-(10**17), 10**17), st.binary(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Values that bencode can carry."""
