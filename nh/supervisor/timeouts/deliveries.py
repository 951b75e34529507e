"""What is sent where when the media of a call have timed out. Pure functions.

A client may name an address with its call, so nh connects only where the settings allow it.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from nh.config import Settings
from nh.config.table import ANY_CLIENT, LOOPBACK, XmlrpcFormat
from nh.ip_address import is_ipv6
from nh.ipc.report_messages import MediaTimedOut

_IN_XML: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    | {chr(code): f"\\x{code:02x}" for code in (*range(0x20), 0xFFFE, 0xFFFF)}
)
"""Text in XML (XML 1.0 2.2, 2.4); characters that XML cannot have become backslash escapes."""


class Delivery(NamedTuple):
    """One message.

    Attributes:
        target: the entry of the settings that it belongs to; each has a queue of its own.
        where: a URL, `unix:PATH` or `tcp:HOST:PORT`.
        body: what to send.
        content_type: of the body; "" for a socket.
    """

    target: str
    where: str
    body: bytes
    content_type: str = ""


class Disallowed(NamedTuple):
    """A message that the settings do not allow; `why` is for the log."""

    why: str


def deliveries(
    timed_out: MediaTimedOut, settings: Settings, *, now: float
) -> Iterator[Delivery | Disallowed]:
    """The messages about one call.

    Args:
        timed_out: the call.
        settings: where nh may connect.
        now: wall clock, seconds since 1970.
    """
    for url in settings.timeout_url:
        yield Delivery(url, url, _json(timed_out, now), "application/json")
    if settings.timeout_xmlrpc:
        yield from _xmlrpc(timed_out, settings)
    if timed_out.target.socket:
        yield _to_socket(timed_out, settings)


def _json(timed_out: MediaTimedOut, now: float) -> bytes:
    return msgspec.json.encode(
        {
            "event": "media_timed_out",
            "call_id": _text(timed_out.call_id),
            "dialogs": [{"from_tag": _text(one), "to_tag": _text(other)} for one, other in timed_out.ends],
            "reason": timed_out.reason,
            "age_s": round(timed_out.age_s, 3),
            "packets": timed_out.packets,
            "time": round(now, 3),
        }
    )


def _text(identifier: bytes) -> str:
    return identifier.decode("utf-8", "backslashreplace")


# --- rtpproxy's notify socket ---------------------------------------------------------------------


def _to_socket(timed_out: MediaTimedOut, settings: Settings) -> Delivery | Disallowed:
    """The client's tag, to a socket that the settings list; its kind may be left out, as in rtpproxy."""
    named = timed_out.target.socket
    for allowed in settings.timeout_socket:
        if named in (allowed, allowed.partition(":")[2]):
            return Delivery(allowed, allowed, timed_out.target.tag + b"\n")
    return Disallowed(f"timeout_socket does not list the notify socket {named[:128]!r}")


# --- XML-RPC --------------------------------------------------------------------------------------


def _xmlrpc(timed_out: MediaTimedOut, settings: Settings) -> Iterator[Delivery | Disallowed]:
    url = settings.timeout_xmlrpc
    if ANY_CLIENT in url:
        address = timed_out.target.callback or LOOPBACK
        if not _allowed(address, settings.timeout_address):
            yield Disallowed(f"timeout_address does not list the xmlrpc-callback {address}")
            return
        url = url.replace(ANY_CLIENT, f"[{address}]" if is_ipv6(address) else address)
    for body in xmlrpc_bodies(timed_out, settings.timeout_xmlrpc_format):
        yield Delivery(settings.timeout_xmlrpc, url, body, "text/xml")


def _allowed(address: str, listed: Iterable[str]) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.is_loopback or any(ip == ipaddress.ip_address(each) for each in listed)


def xmlrpc_bodies(timed_out: MediaTimedOut, form: XmlrpcFormat) -> Iterator[bytes]:
    """The requests of rtpengine's formats: SEMS has one for each tag, Kamailio one for each dialog."""
    match form:
        case XmlrpcFormat.SEMS:
            for tag in dict.fromkeys(tag for ends in timed_out.ends for tag in ends if tag):
                yield _call("di", "sbc", "postControlCmd", _text(tag), "teardown")
        case XmlrpcFormat.CALLID:
            yield _call("teardown", _text(timed_out.call_id))
        case XmlrpcFormat.KAMAILIO:
            for one, other in timed_out.ends:
                if one and other:
                    yield _call("dlg.terminate_dlg", _text(timed_out.call_id), _text(one), _text(other))


def _call(method: str, *params: str) -> bytes:
    texts = (each.translate(_IN_XML) for each in params)
    values = "".join(f"<param><value><string>{each}</string></value></param>" for each in texts)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>"
    ).encode()
