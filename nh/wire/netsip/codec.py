"""Net::SIP's NAT helper protocol: frozen Perl values to commands, results to frozen Perl values.

A request is the array [name, arguments...], a reply one value; see docs/reference/protocol.md. The rules are
those of Net::SIP::NATHelper::Server 0.835: text and numbers are interchangeable, arguments behind those of a
command are ignored, and so are keys of a medium that a relay has no use for. Payloads have no
length in front: framing is the caller's.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from nh.calls.media import MAX_MEDIA, Media, Side
from nh.calls.rtp.payload_types import read_rtpmaps
from nh.commands import Activate, Allocate, Close, Command, Extension, TransactionKey
from nh.errors import MalformedFrame, MalformedRequest, UnknownCommand
from nh.results import Activated, Allocated, Closed, ExtensionResult, Result
from nh.wire.fields import make_allocate, make_key, make_medium, make_param
from nh.wire.framing import MAX_FRAME_BYTES
from nh.wire.netsip.perl_values import excerpt, to_ascii, to_display, to_number, to_octets, to_unflagged
from nh.wire.netsip.storable import MINOR_WRITTEN, MINORS, Value, freeze, freeze_array, thaw

FIRST_BYTE: Final = 0x05
"""First byte of every payload of this protocol (Storable, major version 2, network order)."""

# --- requests, server side ------------------------------------------------------------------------


def decode_request(payload: bytes, extensions: Collection[str] = ()) -> Command:
    """Decode one request.

    Args:
        payload: of a frame.
        extensions: names of further commands; they become an Extension with the plain arguments.

    Raises:
        MalformedFrame: it cannot be thawed, or is not an array that begins with a name: the connection ends.
        UnknownCommand: no such command: the connection ends, as with Perl's server.
        MalformedRequest: wrong arguments of a known command: the reply is undef.
    """
    request = thaw(payload)
    if not isinstance(request, list) or not request or not isinstance(request[0], bytes | str):
        raise MalformedFrame("request: is not an array that begins with the name of a command")
    raw_name, *arguments = request
    name = raw_name.decode(errors="backslashreplace") if isinstance(raw_name, bytes) else str(raw_name)
    if name in REQUESTS:
        try:
            return REQUESTS[name](arguments)
        except MalformedRequest as exc:
            raise MalformedRequest(f"{name}{_of_call(arguments)}: {exc}") from exc
    if name in extensions:
        return Extension(name, tuple(arguments))
    raise UnknownCommand(f"request: unknown command {name[:64]!r}")


def _of_call(arguments: Sequence[Value]) -> str:
    """The call of an invalid request for log lines, escaped and of limited length; "" if it names none."""
    nat_basic = arguments[0] if arguments else None
    call_id = nat_basic[0] if isinstance(nat_basic, list) and nat_basic else None
    return f" for call {excerpt(call_id)}" if isinstance(call_id, bytes | str) else ""


def _read_allocate(arguments: list[Value]) -> Command:
    nat_basic, side, address, media = _first(arguments, 4, "allocate(nat_basic, side, addr, media)")
    side_number = to_number(side, "side")
    if side_number not in (0, 1):
        raise MalformedRequest(f"side: {side_number} is neither 0 nor 1")
    if not isinstance(media, list):
        raise MalformedRequest("media: is not an array")
    if len(media) > MAX_MEDIA:
        raise MalformedRequest(f"media: {len(media)} are more than {MAX_MEDIA}")
    return make_allocate(
        key=_read_key(nat_basic),
        side=Side(side_number),
        address=to_ascii(address, "addr"),
        media=[read_medium(medium, where=f"media[{index}]") for index, medium in enumerate(media)],
    )


def _read_activate(arguments: list[Value]) -> Command:
    (nat_basic,) = _first(arguments, 1, "activate(nat_basic, param)")
    param = arguments[1] if len(arguments) > 1 else None
    if param in (None, False, 0, b"", b"0", "", "0"):  # what is false for Perl
        return Activate(_read_key(nat_basic))
    if not isinstance(param, dict):
        raise MalformedRequest("param: is not a hash")
    texts = {to_display(key): to_display(value) for key, value in param.items()}
    return Activate(_read_key(nat_basic), make_param(texts))


def _read_close(arguments: list[Value]) -> Command:
    (nat_basic,) = _first(arguments, 1, "close(nat_basic)")
    return Close(_read_key(nat_basic))


def _read_key(nat_basic: Value) -> TransactionKey:
    """The key of a nat_basic from Perl, where strings with and without the UTF-8 flag can be equal."""
    if isinstance(nat_basic, list):
        return read_nat_basic([to_unflagged(item) for item in nat_basic])
    return read_nat_basic(nat_basic)


REQUESTS: Final[Mapping[str, Callable[[list[Value]], Command]]] = {
    "allocate": _read_allocate,
    "activate": _read_activate,
    "close": _read_close,
}


def _first(arguments: list[Value], count: int, usage: str) -> list[Value]:
    if len(arguments) < count:
        raise MalformedRequest(f"{usage}: has {len(arguments)} arguments")
    return arguments[:count]


def read_nat_basic(nat_basic: object) -> TransactionKey:
    """Make a TransactionKey of a nat_basic: [callid, cseq, idfrom, idto, uri_from, uri_to].

    Args:
        nat_basic: ids are bytes, text (its UTF-8 counts) or integers; cseq is an integer, its digits, or
            None. Items behind idfrom that are missing or None become b"".

    Raises:
        MalformedRequest: a type is wrong or a value out of range.
    """
    if not isinstance(nat_basic, Sequence) or isinstance(nat_basic, bytes | str) or len(nat_basic) < 3:
        raise MalformedRequest("nat_basic: is not [callid, cseq, idfrom, idto, uri_from, uri_to]")
    call_id, cseq, id_from, *rest = nat_basic
    id_to, uri_from, uri_to = (b"" if item is None else item for item in (*rest, None, None, None)[:3])
    return make_key(
        call_id=to_octets(call_id, "callid"),
        cseq=None if cseq is None else to_number(cseq, "cseq"),
        id_from=to_octets(id_from, "idfrom"),
        id_to=to_octets(id_to, "idto"),
        uri_from=to_octets(uri_from, "uri_from"),
        uri_to=to_octets(uri_to, "uri_to"),
    )


def read_medium(medium: object, *, where: str) -> Media:
    """Make a Media of a hash of Net::SIP::SDP::get_media.

    Args:
        medium: a mapping with addr, port (number or digits), and optionally range, proto, media and lines
            (the SDP's lines, for their payload types); keys are bytes or str, other keys are ignored.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: a type is wrong or a value out of range.
    """
    if not isinstance(medium, Mapping):
        raise MalformedRequest(f"{where}: is not a hash")

    def find(name: str) -> object:
        value = medium.get(name)
        return medium.get(name.encode()) if value is None else value

    range_, proto, kind = find("range"), find("proto"), find("media")
    media = make_medium(
        address=to_ascii(find("addr"), f"{where}: addr"),
        port=to_number(find("port"), f"{where}: port"),
        range_=None if range_ is None else to_number(range_, f"{where}: range"),
        proto="" if proto is None else to_ascii(proto, f"{where}: proto"),
        kind="" if kind is None else to_ascii(kind, f"{where}: media"),
        where=where,
    )
    formats = read_rtpmaps(_rtpmaps(find("lines"))) if media.rtp else ()
    return msgspec.structs.replace(media, formats=formats) if formats else media


def _rtpmaps(lines: object) -> Iterator[str]:
    """The values of a=rtpmap in `lines`, each of which is [letter, text]; other items are skipped."""
    for line in lines if isinstance(lines, list | tuple) else ():
        match line:
            case [b"a" | "a", bytes() | str() as said]:
                text = said.decode("ascii", "backslashreplace") if isinstance(said, bytes) else said
                name, _, value = text.partition(":")
                if name == "rtpmap":
                    yield value
            case _:
                pass


# --- replies, server side -------------------------------------------------------------------------


def reply_minor(request: bytes) -> int:
    """The minor version of Storable for the reply: the client's own, because some refuse a later one.

    Args:
        request: a request's payload.
    """
    return min(request[1], MINOR_WRITTEN) if request[1] in MINORS else MINOR_WRITTEN


def encode_result(result: Result, *, minor: int = MINOR_WRITTEN) -> bytes:
    """Encode a reply's payload. The reply to a Failure, and to what the protocol cannot express, is undef.

    Args:
        result: of a command of this protocol.
        minor: Storable's minor version in the reply.
    """
    match result:
        case Allocated(media):
            value: object = [[medium.address.encode(), medium.port, medium.range] for medium in media]
        case Activated(created):
            value = 1 if created else -1
        case Closed(sessions):
            value = sessions or None
        case ExtensionResult():
            value = result.value
        case _:
            value = None
    try:
        payload = freeze(value, minor)
    except (TypeError, ValueError):  # only an extension's value can have no Perl form
        return freeze(None, minor)
    return payload if len(payload) <= MAX_FRAME_BYTES else freeze(None, minor)


# --- client side ----------------------------------------------------------------------------------


def encode_request(command: Allocate | Activate | Close | Extension) -> bytes:
    """Encode a request's payload, as Perl's client does.

    Args:
        command: one of this protocol, or an Extension: any name, with plain values as arguments.

    Raises:
        TypeError, ValueError: an argument of an Extension has no Perl form.
    """
    match command:
        case Allocate():
            media = [_medium_hash(medium) for medium in command.media]
            nat_basic = _nat_basic(command.key)
            return freeze_array([b"allocate", nat_basic, int(command.side), command.address.encode(), media])
        case Activate():
            param = (command.param,) if command.param else ()
            return freeze_array([b"activate", _nat_basic(command.key), *param])
        case Close():
            return freeze_array([b"close", _nat_basic(command.key)])
        case Extension():
            return freeze_array([command.name.encode(), *command.arguments])


def decode_reply(payload: bytes) -> Value:
    """Decode a reply: None (undef), a number, or a list for allocate.

    Raises:
        MalformedFrame: it cannot be thawed.
    """
    return thaw(payload)


def read_count(value: Value) -> int | None:
    """The reply to activate or close: a number, or None for undef.

    Raises:
        MalformedFrame: it is neither.
    """
    try:
        return None if value is None else to_number(value, "reply")
    except MalformedRequest as exc:
        raise MalformedFrame(str(exc)) from exc


def read_allocated(value: Value) -> list[tuple[str, int, int]] | None:
    """The reply to allocate: (address, base port, range) for each medium, or None for undef.

    Raises:
        MalformedFrame: it is neither.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise MalformedFrame("reply: is neither undef nor an array")
    media = []
    for item in value:
        if not isinstance(item, list) or len(item) != 3:
            raise MalformedFrame("reply: a medium is not [addr, port, range]")
        address, port, range_ = item
        try:
            media.append((to_ascii(address, "addr"), to_number(port, "port"), to_number(range_, "range")))
        except MalformedRequest as exc:
            raise MalformedFrame(f"reply: {exc}") from exc
    return media


def _nat_basic(key: TransactionKey) -> list[object]:
    return [key.call_id, key.cseq, key.id_from, key.id_to, key.uri_from, key.uri_to]


def _medium_hash(medium: Media) -> dict[bytes, object]:
    return {
        b"addr": medium.address.encode(),
        b"port": medium.port,
        b"range": medium.range,
        b"proto": medium.proto.encode(),
        b"media": medium.kind.encode(),
        b"lines": [
            [b"a", f"rtpmap:{each.payload_type} {each.encoding}/{each.clock_hz}".encode()]
            for each in medium.formats
        ],
    }
