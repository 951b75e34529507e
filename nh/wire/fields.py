"""The ranges of the fields of requests, on every wire: used by netsip, native and ng.

Codecs pass values of the right type; these functions check their ranges and make the structs of nh.commands.
Knows no encoding.
"""

import ipaddress
from collections.abc import Sequence

from nh.calls.media import MAX_MEDIA, Endpoint, Media, Side, make_media
from nh.calls.rtp.payload_types import MAX_CLOCK_HZ, PayloadFormat
from nh.commands import MAX_CSEQ, MAX_ID_BYTES, Allocate, CallOrder, ListCalls, TransactionKey
from nh.errors import MalformedRequest
from nh.ip_address import canonical_address

MAX_PARAM = 64
"""Most entries of an activation's param."""

MAX_PARAM_BYTES = 1024
"""Longest key and longest value of a param, as UTF-8."""

MAX_NETWORK_CHARACTERS = 49
"""Longest text of a network: an address of 45 characters with its prefix length."""

MAX_TOKEN_CHARACTERS = 64
"""Longest `proto` or `kind` of a medium, and longest encoding name."""


def make_id(value: bytes, *, where: str) -> bytes:
    """Return an identifier unchanged. Raises MalformedRequest if it is longer than MAX_ID_BYTES."""
    if len(value) > MAX_ID_BYTES:
        raise MalformedRequest(f"{where}: {len(value)} bytes are more than {MAX_ID_BYTES}")
    return value


def make_call_id(value: bytes) -> bytes:
    """Return a call-id unchanged. Raises MalformedRequest if it is empty or longer than MAX_ID_BYTES."""
    if not value:
        raise MalformedRequest("call_id: is empty")
    return make_id(value, where="call_id")


def make_key(
    *,
    call_id: bytes,
    cseq: int | None,
    id_from: bytes,
    id_to: bytes = b"",
    uri_from: bytes = b"",
    uri_to: bytes = b"",
) -> TransactionKey:
    """Make a TransactionKey of values from a peer.

    Args:
        call_id, cseq, id_from, id_to, uri_from, uri_to: see nh.commands.TransactionKey.

    Raises:
        MalformedRequest: a value is out of range.
    """
    if cseq is not None and not 0 <= cseq <= MAX_CSEQ:
        raise MalformedRequest(f"cseq: {cseq} is not in 0..{MAX_CSEQ}")
    return TransactionKey(
        call_id=make_call_id(call_id),
        cseq=cseq,
        id_from=make_id(id_from, where="id_from"),
        id_to=make_id(id_to, where="id_to"),
        uri_from=make_id(uri_from, where="uri_from"),
        uri_to=make_id(uri_to, where="uri_to"),
    )


def make_network(text: str, *, where: str) -> str:
    """Return a network as ListCalls has it; "" stays "".

    Args:
        text: an IP address, or one with a prefix length; bits behind the prefix are ignored.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: it is neither.
    """
    if not text:
        return ""
    try:
        if len(text) <= MAX_NETWORK_CHARACTERS and "%" not in text:
            return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        pass
    raise MalformedRequest(
        f"{where}: {text[:MAX_NETWORK_CHARACTERS]!r} is not an IP address or network, such as 198.51.100.7 or"
        " 198.51.100.0/24"
    )


def make_order(text: str, *, where: str) -> CallOrder:
    """Return the order of a list by its name.

    Args:
        text: the name.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: no order has this name.
    """
    if text not in tuple(CallOrder):
        raise MalformedRequest(
            f"{where}: {text[:MAX_TOKEN_CHARACTERS]!r} is not one of {', '.join(CallOrder)}"
        )
    return CallOrder(text)


def make_list(command: ListCalls) -> ListCalls:
    """Return a ListCalls unchanged, whose parts are valid.

    Raises:
        MalformedRequest: its parts contradict each other.
    """
    if command.after and command.sort is not CallOrder.CALL_ID:
        raise MalformedRequest(f"after: a list sorted by {command.sort} has one page")
    return command


def make_medium(*, address: str, port: int, range_: int | None, proto: str, kind: str, where: str) -> Media:
    """Make a Media of values from a peer.

    Args:
        address, port, proto, kind: see nh.calls.media.Media.
        range_: number of consecutive ports; None: 2 if `proto` starts with RTP/ (RTP and RTCP), else 1.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: a value is out of range.
    """
    for name, text in (("proto", proto), ("kind", kind)):
        _check_token(text, where=f"{where}: {name}")
    if range_ is None:
        range_ = 2 if proto.startswith("RTP/") else 1
    return make_media(address=address, port=port, range_=range_, proto=proto, kind=kind, where=where)


def make_format(*, payload_type: int, encoding: str, clock_hz: int, where: str) -> PayloadFormat:
    """Make a PayloadFormat of values from a peer.

    Args:
        payload_type, encoding, clock_hz: see nh.calls.rtp.payload_types.PayloadFormat.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: a value is out of range.
    """
    if not 0 <= payload_type <= 127:
        raise MalformedRequest(f"{where}: payload type {payload_type} is not in 0..127")
    if not 1 <= clock_hz <= MAX_CLOCK_HZ:
        raise MalformedRequest(f"{where}: clock_hz {clock_hz} is not in 1..{MAX_CLOCK_HZ}")
    _check_token(encoding, where=f"{where}: encoding")
    return PayloadFormat(payload_type, encoding, clock_hz)


def _check_token(text: str, *, where: str) -> None:
    if len(text) > MAX_TOKEN_CHARACTERS or not (text.isascii() and text.isprintable()):
        raise MalformedRequest(f"{where} is not at most {MAX_TOKEN_CHARACTERS} printable ASCII characters")


def make_endpoint(*, address: str, port: int, where: str) -> Endpoint:
    """Make an Endpoint of values from a peer.

    Args:
        address: an IP address.
        port: 1 to 65535.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: the address or port is not valid.
    """
    if not 1 <= port <= 65535:
        raise MalformedRequest(f"{where}: port {port} is not in 1..65535")
    return Endpoint(canonical_address(address, where=where), port)


def make_allocate(*, key: TransactionKey, side: Side, address: str, media: Sequence[Media]) -> Allocate:
    """Make an Allocate of valid parts.

    Raises:
        MalformedRequest: the key has no cseq, the address is not an IP address, or there are more than
            MAX_MEDIA media.
    """
    if key.cseq is None:
        raise MalformedRequest("cseq: allocate needs a number")
    if len(media) > MAX_MEDIA:
        raise MalformedRequest(f"media: {len(media)} are more than {MAX_MEDIA}")
    return Allocate(key, side, canonical_address(address, where="address"), tuple(media))


def make_param(param: dict[str, str]) -> dict[str, str]:
    """Return the param of an Activate unchanged.

    Raises:
        MalformedRequest: it has more than MAX_PARAM entries, or a text longer than MAX_PARAM_BYTES.
    """
    if len(param) > MAX_PARAM:
        raise MalformedRequest(f"param: {len(param)} entries are more than {MAX_PARAM}")
    for key, value in param.items():
        if len(key.encode()) > MAX_PARAM_BYTES or len(value.encode()) > MAX_PARAM_BYTES:
            raise MalformedRequest(f"param: {key[:64]!r} or its value is longer than {MAX_PARAM_BYTES} bytes")
    return param
