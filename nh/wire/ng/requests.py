"""The requests of ng: messages to commands, and what the reply needs to know of the request.

The rules are those of rtpengine's documentation, and of its daemon where the two differ: the keys that a
command needs, the order in which missing ones are reported, and the texts. SIP proxies depend on them.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from nh.calls.media import Block
from nh.commands import (
    MAX_ID_BYTES,
    MAX_LIST,
    Answer,
    BlockMedia,
    Command,
    Delete,
    Feature,
    GetStats,
    ListCalls,
    Offer,
    Ping,
    Query,
)
from nh.errors import MalformedRequest, UnknownCommand, Unsupported
from nh.ip_address import canonical_address
from nh.results import Failure, LeftOut
from nh.wire.fields import make_id
from nh.wire.ng.dictionary import Dictionary, Encoding, decode, text_of
from nh.wire.ng.options import read_options
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.unsupported import UNSUPPORTED_COMMANDS, Gap
from nh.wire.subject import Subject

DEFAULT_DELETE_DELAY_S: Final = 30
"""Delay of a delete in seconds, if the client gives none."""

MAX_DELETE_DELAY_S: Final = 3600

DEFAULT_LIST: Final = 32

MAX_COOKIE_BYTES: Final = 256


class NgRequest(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        command: what to execute, or the result to reply with at once.
        encoding: of the request and its reply.
        load_limit: whether the client understands the result `load limit`.
        fatal: whether deleting an unknown call is an error.
        fast: whether the reply to a delete leaves the counters out.
        ignored: what of the request was ignored; "" for nothing.
        left_out: what was left out that fails a request otherwise; "" for nothing.
        subject: see Subject.
    """

    command: Command | Failure | LeftOut
    encoding: Encoding = Encoding.BENCODE
    load_limit: bool = False
    fatal: bool = False
    fast: bool = False
    ignored: str = ""
    left_out: str = ""
    subject: Subject = Subject()


def split_cookie(message: bytes) -> tuple[bytes, bytes] | None:
    """Split a message into cookie and payload; None if it has no cookie, and so can get no reply."""
    cookie, space, payload = message.partition(b" ")
    return (cookie, payload) if space and 0 < len(cookie) <= MAX_COOKIE_BYTES else None


def decode_request(payload: bytes, lenient: Collection[Feature] = ()) -> NgRequest:
    """Decode the payload of one request. Never raises: an invalid request has a Failure as its command.

    Args:
        payload: the dictionary behind the cookie.
        lenient: features that are left out, with a warning, where they would fail the request otherwise.
    """
    encoding = Encoding.JSON if payload[:1] == b"{" else Encoding.BENCODE
    dictionary = None
    try:
        dictionary = decode(payload)
        return _read_request(dictionary, encoding, lenient)
    except (MalformedRequest, UnknownCommand, Unsupported) as exc:
        return NgRequest(Failure.of(exc), encoding, subject=_subject(dictionary))


def _subject(dictionary: Dictionary | None) -> Subject:
    if dictionary is None:
        return Subject()
    return Subject(dictionary.find(b"command"), dictionary.find(b"call-id"))


def _read_request(dictionary: Dictionary, encoding: Encoding, lenient: Collection[Feature]) -> NgRequest:
    name = dictionary.find(b"command")
    if not name:
        raise MalformedRequest('Dictionary contains no key "command"')
    read = REQUESTS.get(name)
    if read is None:  # nearly all clients write it as the table does
        known = name.replace(b"_", b" ").replace(b"-", b" ").lower()
        if known in UNSUPPORTED_COMMANDS:
            return _leave_out(dictionary, encoding, UNSUPPORTED_COMMANDS[known], lenient)
        if known not in REQUESTS:
            raise UnknownCommand("Unrecognized command")
        read = REQUESTS[known]
    parsed = read_options(dictionary, lenient, escaped=encoding is Encoding.JSON)
    command = read(dictionary, parsed)
    switches, left_out = parsed.switches, parsed.left_out
    if left_out and type(command) not in (Offer, Answer):
        # other commands ask for nothing by their flags: scripts send the same ones with each command
        left_out = ""
    return NgRequest(
        # by place: words take twice as long
        command,
        encoding,
        "load limit" in switches,
        "fatal" in switches,
        "fast" in switches,
        parsed.ignored,
        left_out,
        Subject(name, dictionary.find(b"call-id")),
    )


def _leave_out(
    dictionary: Dictionary, encoding: Encoding, gap: Gap | None, lenient: Collection[Feature]
) -> NgRequest:
    """A command that nh does not have.

    Raises:
        Unsupported: it is none of the features that are left out.
    """
    name = text_of(dictionary.find(b"command"))
    if gap is None or gap.feature not in lenient:
        raise Unsupported(name)
    _needed(dictionary, b"call-id")
    left_out = f"{name} ({gap.why})"
    return NgRequest(LeftOut(), encoding, left_out=left_out, subject=_subject(dictionary))


# --- one reader for each command -------------------------------------------------------------------------


def _read_ping(_dictionary: Dictionary, _parsed: ParsedOptions) -> Command:
    return Ping()


def _read_offer(dictionary: Dictionary, parsed: ParsedOptions) -> Command:
    sdp = _needed_sdp(dictionary)
    call_id, from_tag = _needed(dictionary, b"call-id", b"from-tag")
    parsed.check()
    to_tag, via_branch = _id(dictionary, b"to-tag"), _id(dictionary, b"via-branch")
    return Offer(call_id, from_tag, to_tag, via_branch, sdp, parsed.offer_options)


def _read_answer(dictionary: Dictionary, parsed: ParsedOptions) -> Command:
    sdp = _needed_sdp(dictionary)
    call_id, from_tag, to_tag = _needed(dictionary, b"call-id", b"from-tag", b"to-tag")
    parsed.check()
    via_branch = _id(dictionary, b"via-branch")
    return Answer(call_id, from_tag, to_tag, via_branch, sdp, parsed.offer_options)


def _read_delete(dictionary: Dictionary, parsed: ParsedOptions) -> Command:
    (call_id,) = _needed(dictionary, b"call-id")
    delay_s = dictionary.find_integer(b"delete-delay")
    if delay_s is None or delay_s < 0:
        delay_s = DEFAULT_DELETE_DELAY_S
    return Delete(
        call_id,
        _id(dictionary, b"from-tag"),
        _id(dictionary, b"to-tag") if _selects(dictionary, parsed, "to-tag") else b"",
        _id(dictionary, b"via-branch"),
        min(delay_s, MAX_DELETE_DELAY_S),
    )


def _read_query(dictionary: Dictionary, _parsed: ParsedOptions) -> Command:
    # either tag selects one end of the call; the to-tag is more exact
    (call_id,) = _needed(dictionary, b"call-id")
    return Query(call_id, _id(dictionary, b"to-tag") or _id(dictionary, b"from-tag"))


def _read_statistics(_dictionary: Dictionary, _parsed: ParsedOptions) -> Command:
    return GetStats()


def _read_list(dictionary: Dictionary, _parsed: ParsedOptions) -> Command:
    limit = dictionary.find_integer(b"limit")
    if limit is not None and limit < 1:
        raise MalformedRequest("invalid limit, must be > 0")
    return ListCalls(limit=min(limit or DEFAULT_LIST, MAX_LIST))


def _reader_of_block(what: Block, *, blocked: bool) -> Callable[[Dictionary, ParsedOptions], Command]:
    def read(dictionary: Dictionary, parsed: ParsedOptions) -> Command:
        (call_id,) = _needed(dictionary, b"call-id")
        if "except-offer-answer" in parsed.switches:
            raise Unsupported("all=except-offer-answer (all media of nh are of an offer and its answer)")
        if "all" in parsed.switches:
            return BlockMedia(call_id, b"", blocked, what)
        from_tag = _id(dictionary, b"from-tag") if _selects(dictionary, parsed, "directional") else b""
        label = dictionary.read_text(b"label") or dictionary.read_text(b"from-label")
        address = text_of(dictionary.read_text(b"address"))
        if address:
            address = canonical_address(address, where="address")
        return BlockMedia(call_id, from_tag, blocked, what, text_of(label), address)

    return read


def _selects(dictionary: Dictionary, parsed: ParsedOptions, flag: str) -> bool:
    """Whether a tag is there to select by.

    A client that parses the flags of its script sends the tag only then, and without the flag; one that sends
    them as they are sends the tag always.
    """
    return flag in parsed.switches or not dictionary.has_text(b"rtpp-flags")


REQUESTS: Final[Mapping[bytes, Callable[[Dictionary, ParsedOptions], Command]]] = {
    b"ping": _read_ping,
    b"offer": _read_offer,
    b"answer": _read_answer,
    b"delete": _read_delete,
    b"query": _read_query,
    b"list": _read_list,
    b"statistics": _read_statistics,
    b"block media": _reader_of_block(Block.MEDIA, blocked=True),
    b"unblock media": _reader_of_block(Block.MEDIA, blocked=False),
    b"block dtmf": _reader_of_block(Block.DTMF, blocked=True),
    b"unblock dtmf": _reader_of_block(Block.DTMF, blocked=False),
    b"silence media": _reader_of_block(Block.SOUND, blocked=True),
    b"unsilence media": _reader_of_block(Block.SOUND, blocked=False),
}


def _needed_sdp(dictionary: Dictionary) -> bytes:
    """The SDP of an offer or answer, which may be empty: an INVITE without SDP."""
    sdp = dictionary.find(b"sdp")
    if not sdp and not dictionary.has_text(b"sdp"):
        raise MalformedRequest("No SDP body in message")
    return sdp


def _needed(dictionary: Dictionary, *names: bytes) -> list[bytes]:
    """The identifiers that a command needs."""
    values = []
    for name in names:
        value = dictionary.find(name)
        if not value:
            raise MalformedRequest(f"No {name.decode()} in message")
        values.append(value if len(value) <= MAX_ID_BYTES else make_id(value, where=name.decode()))
    return values


def _id(dictionary: Dictionary, name: bytes) -> bytes:
    value = dictionary.read_text(name)
    return value if len(value) <= MAX_ID_BYTES else make_id(value, where=name.decode())
