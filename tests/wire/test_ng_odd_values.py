"""Any value of any key and flag that nh knows: a reply that says which and why, and never an exception."""

import json
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.results import Failure, Rewritten
from nh.wire.ng import decode_request, encode_reply, flags, options, unsupported
from nh.wire.ng.dictionary import decode, normalize_key
from nh.wire.ng.requests import REQUESTS
from tests.wire.fuzz import fuzzed
from tests.wire.ng import MAX_BYTES, SDP, answer, offer, payload, values, written

KEYS = frozenset(options._READERS)
NAMES = sorted({*KEYS, *unsupported.UNSUPPORTED_KEYS, *unsupported.NOT_OPTIONS} - {b"command"})
FLAGS = sorted({*flags._OPTIONS, *flags._SWITCHES, *flags._NO_EFFECT, *flags._IGNORED, *flags._PREFIXES})
OFFER = {"sdp": SDP, "call-id": b"call", "from-tag": b"a", "command": b"offer"}
TEXT = st.text(string.printable + "\0\x7f\u2028é", max_size=12) | st.sampled_from(
    ["x" * 5000, "\x1b[31m", "[[", "="]
)
ODD = st.one_of(values, TEXT.map(str.encode), st.lists(TEXT.map(str.encode), max_size=3))
ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def in_json(fields: Mapping[str, Any]) -> bytes:
    """An offer with all that is needed."""
    needed = {"command": "offer", "sdp": SDP.decode(), "call-id": "call", "from-tag": "a"}
    return json.dumps({**needed, **fields}).encode()


def is_answered(data: bytes) -> bool:
    """Whether there is a reply: to what is refused, or to what the relay may do."""
    request = decode_request(data)
    result = request.command if isinstance(request.command, Failure) else Rewritten(SDP)
    return decode(encode_reply(request, result, MAX_BYTES)).find(b"result") in (b"ok", b"error")


def reason(data: bytes) -> str:
    """Why a request is refused; "" if it is not."""
    command = decode_request(data).command
    return command.message if isinstance(command, Failure) else ""


@fuzzed
@given(name=st.sampled_from(NAMES), value=ODD, command=st.sampled_from(sorted(REQUESTS)))
def test_any_value_of_any_key_is_read_or_refused(name: bytes, value: object, command: bytes) -> None:
    needed = {"sdp": SDP, "call-id": b"c", "from-tag": b"a", "to-tag": b"b", "command": command}
    assert is_answered(written({**needed, name.decode(): value}))


@fuzzed
@given(name=st.sampled_from(NAMES), value=ODD_JSON)
def test_any_value_in_json_is_read_or_refused(name: bytes, value: object) -> None:
    assert is_answered(in_json({name.decode(): value}))


@fuzzed
@given(name=st.sampled_from(NAMES), value=ODD_JSON)
def test_a_refusal_names_its_key(name: bytes, value: object) -> None:
    refused = reason(in_json({name.decode(): value}))
    if refused:
        assert name in normalize_key(refused.replace("SDP body", "sdp").encode())


@fuzzed
@given(flag=st.sampled_from(FLAGS), suffix=TEXT, where=st.sampled_from(["flags", "rtpp-flags"]))
def test_any_flag_with_anything_behind_it_is_read_or_refused(flag: bytes, suffix: str, where: str) -> None:
    for word in (flag + suffix.encode(), flag + b"-" + suffix.encode(), flag + b"=" + suffix.encode()):
        assert is_answered(offer(**{where: word}))
        assert is_answered(answer(**{where: word}))


@pytest.mark.parametrize("name", [b"via-branch", b"rtpp-flags"])
@pytest.mark.parametrize(("value", "kind"), [({}, "a dictionary"), (["x"], "a list"), (1.5, "a fraction")])
def test_what_has_to_be_text_is_not_taken_for_missing(name: bytes, value: object, kind: str) -> None:
    fields = {"command": "answer", "to-tag": "b", name.decode(): value}
    assert reason(in_json(fields)) == f"Invalid value for '{name.decode()}': is {kind}, not text"


@pytest.mark.parametrize("name", sorted(KEYS - {b"codec", b"extmap", b"sdp-attr"}))
@pytest.mark.parametrize("value", [{"x": "y"}, [{"x": "y"}], ["x", ["y"]], 0.5, [0.5]])
def test_a_value_of_another_shape_is_refused_and_not_overlooked(name: bytes, value: object) -> None:
    assert reason(in_json({name.decode(): value})).startswith(f"Invalid value for '{name.decode()}': ")


@pytest.mark.parametrize("name", NAMES)
def test_null_is_a_key_that_is_missing(name: bytes) -> None:
    missing = {b"sdp": "No SDP body in message"} | {
        key: f"No {key.decode()} in message" for key in (b"call-id", b"from-tag")
    }
    assert reason(in_json({name.decode(): None})) == missing.get(name, "")


@pytest.mark.parametrize("name", sorted(KEYS))
def test_an_empty_text_asks_for_nothing(name: bytes) -> None:
    plain = decode_request(offer()).command
    assert decode_request(written({**OFFER, name.decode(): b""})).command == plain


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"sdp-attr": {"audio": "add"}}, "sdp-attr-audio"),
        ({"sdp-attr": {"audio": {"add": [["x", "y"]]}}}, "sdp-attr-add"),
        ({"sdp-attr": {"audio": {"invert": ["x"]}}}, "sdp-attr-invert"),
        ({"extmap": ["strip"]}, "extmap=strip"),
    ],
)
def test_what_cannot_be_followed_is_named(fields: dict[str, Any], warning: str) -> None:
    assert decode_request(in_json(fields)).ignored == warning


def test_deletes_and_queries_do_not_fail_by_the_options_of_offers() -> None:
    odd = {"direction": {"x": "y"}, "flags": [{}]}
    assert not isinstance(decode_request(payload("delete", call_id="c", **odd)).command, Failure)


@fuzzed
@given(
    name=st.sampled_from(NAMES),
    value=ODD,
    flag=st.sampled_from(FLAGS),
    suffix=st.sampled_from([b"", b"=x", b"-x"]),
)
def test_options_that_are_remembered_are_those_that_are_parsed(
    name: bytes, value: object, flag: bytes, suffix: bytes
) -> None:
    data = answer(**{name.decode(): value, "rtpp-flags": flag + suffix + b" to-tag=other"})
    first, again = decode_request(data), decode_request(data)
    options._parse_remembered.cache_clear()
    assert first == again == decode_request(data)
