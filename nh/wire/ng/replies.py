"""The replies of ng: results to payloads.

rtpengine's texts are an interface: SIP proxies choose another relay by them. docs/reference/ng.md lists them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from nh.commands import Delete
from nh.errors import Unsupported
from nh.ip_address import is_ipv6, split_host_port
from nh.printable import escaped
from nh.results import (
    Blocked,
    CallList,
    Closed,
    Failure,
    LeftOut,
    MediumReading,
    Pong,
    Queried,
    Result,
    Rewritten,
    Stats,
    StreamDetail,
    StreamQuality,
    StreamReading,
    StreamTotals,
    TagReading,
)
from nh.wire.ng.dictionary import encode, writer_of
from nh.wire.ng.requests import NgRequest
from nh.wire.ng.statistics import make_statistics

Write = Callable[[bytes], bytes | str]
"""See nh.wire.ng.dictionary.writer_of."""

NOT_DELETED: Final = "Call-ID not found or tags didn't match"
"""The warning or error of a delete that matches nothing."""

NOT_SUPPORTED: Final = "Not supported by nh: "
"""How each refusal of what nh does not do begins, and the warning where it was left out instead."""

IGNORED: Final = "Ignored by nh: "
"""How the warning begins that names what changes nothing."""

SHORTENED: Final = "The details are left out: the reply would be too long"
"""The warning of a query or delete whose `tags` were left out."""

UNWARNED: Final = "The warnings are left out: the reply would be too long"
"""The warning of an offer or answer whose other warnings have no room beside the SDP."""

_WORDS: Final[Mapping[str, str]] = {
    "not_found": "Unknown call-id",
    "no_ports": "Ran out of ports",
    "bad_sdp": "Failed to parse SDP",
    "incomplete_sdp": "Incomplete SDP specification",
    "bad_dialogue": "Invalid dialogue association",
    "sdp_rewrite": "Error rewriting SDP",
    "limit": "Parallel session limit reached",
    # rtpengine drains by a limit of 0 sessions, and replies this
    "draining": "Parallel session limit reached",
    # so that the client tries another relay: of the texts that make it do so, the closest to the truth
    "unavailable": "Load limit exceeded",
    "timeout": "Load limit exceeded",
}
"""rtpengine's text for a Failure's code; a Failure with another code keeps its own message."""

_LIMITS: Final = frozenset({"limit", "draining", "unavailable", "timeout"})
"""Codes for which the client tries another relay: `load limit`, if the client understands it."""


def encode_reply(request: NgRequest, result: Result, max_bytes: int) -> bytes:
    """Encode the reply's payload.

    Args:
        request: from decode_request().
        result: of its command, or its Failure.
        max_bytes: longest payload. If they do not fit, a query or delete loses its MOS progressions and then
            its details, and an offer or answer its warnings; a reply that is still too long becomes an error.
    """
    reply = _make_reply(request, result)
    payload = encode(reply, request.encoding)
    if len(payload) <= max_bytes:
        return payload
    if isinstance(result, Rewritten):
        payload = encode({**reply, "warning": UNWARNED}, request.encoding)
    for shorten in (Queried.without_courses, Queried.without_details):
        if len(payload) > max_bytes and isinstance(result, Queried):
            payload = encode(_make_reply(request, shorten(result)), request.encoding)
    if len(payload) > max_bytes:
        error = _error(f"The reply would be longer than {max_bytes} bytes; ask for less")
        payload = encode(error, request.encoding)
    return payload


def _make_reply(request: NgRequest, result: Result) -> dict[Any, Any]:
    reply: dict[Any, Any] = {"result": "ok"}
    left_out, warning, write = request.left_out, "", writer_of(request.encoding)
    match result:  # the most frequent first
        case Rewritten():
            if result.sdp:
                reply["sdp"] = write(result.sdp)
            if result.left_out:
                left_out = f"{left_out}, {result.left_out}" if left_out else result.left_out
            warning = result.warning
        case Queried():
            reply |= {} if request.fast else _queried(result, write)
            warning = "" if result.complete or request.fast else SHORTENED
        case Failure():
            return _failure(request, result)
        case Pong():
            return {"result": "pong"}
        case CallList(calls):
            reply["calls"] = [write(call.call_id) for call in calls]
        case Stats(values):
            reply["statistics"] = make_statistics(values)
        case Closed() | Blocked() | LeftOut():
            pass
        case _:
            return _error(f"nh has no reply for {type(result).__name__}")
    if request.ignored or left_out or warning:
        begun = ((IGNORED, request.ignored), (NOT_SUPPORTED, left_out), ("", warning))
        reply["warning"] = escaped("; ".join(begin + text for begin, text in begun if text))
    return reply


# --- errors ---------------------------------------------------------------------------------------


def _error(reason: str) -> dict[Any, Any]:
    return {"result": "error", "error-reason": reason}


def _failure(request: NgRequest, failure: Failure) -> dict[Any, Any]:
    if failure.code == "not_found" and isinstance(request.command, Delete):
        return _error(NOT_DELETED) if request.fatal else {"result": "ok", "warning": NOT_DELETED}
    message = escaped(failure.message)  # it may have words of the request or its SDP; proxies log it as it is
    if failure.code in _LIMITS and request.load_limit:
        return {"result": "load limit", "message": message}
    if failure.code == Unsupported.code:
        return _error(NOT_SUPPORTED + message)
    if failure.code in _WORDS:
        return {**_error(_WORDS[failure.code]), "message": message}
    return _error(message)


# --- the replies to query and delete -------------------------------------------------------------------


def _queried(call: Queried, write: Write) -> dict[Any, Any]:
    return {
        "created": call.created,
        "created_us": call.created_us,
        "last signal": call.last_signal,
        "SSRC": {
            write(b"%d" % rtp.ssrc): _ssrc(rtp, stream) for stream in _streams(call) for rtp in stream.rtp
        },
        "tags": {write(tag.tag): _tag(tag, write) for tag in call.tags},
        "totals": {
            "RTP": _count(call.rtp),
            "RTCP": _count(call.rtcp),
        },
    }


def _count(counted: StreamTotals | StreamReading) -> dict[str, int]:
    return {"packets": counted.packets, "bytes": counted.bytes, "errors": counted.errors}


def _streams(call: Queried) -> Iterator[StreamReading]:
    return (stream for tag in call.tags for medium in tag.media for stream in medium.streams)


def _ssrc(rtp: StreamDetail, stream: StreamReading) -> dict[str, Any]:
    """An SSRC, with the keys that rtpengine has: what its sender hears, as that end's own RTCP would tell."""
    heard = stream.heard
    reply: dict[str, Any] = {
        "packets": rtp.packets,
        "cumulative loss": heard.lost if heard is not None else 0,
    }
    if heard is not None and heard.average and heard.lowest and heard.highest:
        reply["average MOS"] = {**_quality(heard.average, heard), "samples": heard.average.samples}
        reply["lowest MOS"] = _interval(heard.lowest, heard)
        reply["highest MOS"] = _interval(heard.highest, heard)
        reply["MOS progression"] = _progression(stream.heard_course or (heard.lowest,), heard)
    return reply


def _progression(course: Sequence[StreamQuality], heard: StreamDetail) -> dict[str, Any]:
    """How the quality changed: intervals, and the seconds between two of them."""
    apart_s = (course[-1].at - course[0].at) / max(len(course) - 1, 1)
    return {"interval": round(apart_s), "entries": [_interval(each, heard) for each in course]}


def _interval(quality: StreamQuality, heard: StreamDetail) -> dict[str, int]:
    return {**_quality(quality, heard), "reported at": quality.at}


def _quality(quality: StreamQuality, rtp: StreamDetail) -> dict[str, int]:
    """All values are integers: tenths of MOS, milliseconds of jitter, percent of loss, microseconds."""
    reply = {
        "MOS": round(10 * quality.mos),
        "jitter": round(quality.jitter_ms),
        "packet loss": round(100 * quality.loss_ratio),
    }
    if quality.round_trip_ms is not None:
        reply["round-trip time"] = round(1000 * quality.round_trip_ms)
    if rtp.round_trip_ms is not None:
        reply["round-trip time leg"] = round(1000 * rtp.round_trip_ms)
    return reply


def _tag(tag: TagReading, write: Write) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "tag": write(tag.tag),
        "created": tag.created,
        "medias": [_medium(medium) for medium in tag.media],
    }
    if tag.label:
        reply["label"] = tag.label
    if tag.branch:
        reply["via-branch"] = write(tag.branch)
    if tag.in_dialogue_with:
        reply["in dialogue with"] = write(tag.in_dialogue_with)
    if tag.dialogs_with:
        others = [{"tag": write(each), "type": "offer/answer"} for each in tag.dialogs_with]
        reply["subscriptions"] = reply["subscribers"] = others
    return reply


def _medium(medium: MediumReading) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "index": medium.index,
        "type": medium.kind,
        "protocol": medium.proto,
        "flags": ["initialized", *medium.flags],
        "streams": [_stream(stream) for stream in medium.streams],
    }
    if medium.codec:
        reply["codec"] = medium.codec
    return reply


def _stream(stream: StreamReading) -> dict[str, Any]:
    flags = ["RTP" if stream.component == 1 else "RTCP"]
    if stream.announced:
        flags.append("filled")
    if stream.source:
        flags.append("confirmed")
    flags += stream.flags
    announced = _endpoint(stream.announced)
    elsewhere = stream.source and stream.source != stream.announced
    reply: dict[str, Any] = {
        "local port": stream.local_port,
        "endpoint": _endpoint(stream.source) if elsewhere else announced,
        "advertised endpoint": announced,
        "last packet": stream.last_packet,
        "flags": flags,
    }
    if stream.local_address:
        reply["local address"] = stream.local_address
        reply["family"] = "IPv6" if is_ipv6(stream.local_address) else "IPv4"
    if stream.suite:
        reply["crypto suite"] = stream.suite
    if stream.ssrc is not None:
        reply["SSRC"] = stream.ssrc
    reply["stats"] = _count(stream)
    if stream.refused:
        reply["refused"] = {"packets": stream.refused, "latest": _endpoint(stream.refused_from)}
    return reply


def _endpoint(text: str | None) -> dict[str, Any]:
    """The dictionary of an endpoint, given as nh.calls.media.Endpoint writes it; {} for none."""
    if not text:
        return {}
    address, port = split_host_port(text)
    return {"family": "IPv6" if is_ipv6(address) else "IPv4", "address": address, "port": int(port)}
