"""The requests of rtpproxy: lines to commands, and what the reply needs to know of the request.

The rules are those of rtpproxy's parser: case of letters, number of arguments, and the error of each fault.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from nh.calls.media import MAX_MEDIA
from nh.calls.timeouts import TimeoutTarget
from nh.commands import (
    MAX_ID_BYTES,
    Command,
    DeleteAll,
    DeleteSessions,
    GetStats,
    Lookup,
    Ping,
    QuerySession,
    Update,
)
from nh.errors import MalformedRequest, UnknownCommand
from nh.ip_address import canonical_host
from nh.printable import show_id
from nh.results import Failure
from nh.wire.rtpproxy.errors import Error, RequestError
from nh.wire.rtpproxy.modifiers import read_session_options
from nh.wire.subject import Subject

MAX_REQUEST_BYTES: Final = 8192
"""Longest request, its cookie included."""

MAX_ARGUMENTS: Final = 64

MAX_COOKIE_BYTES: Final = 128
"""Longest cookie: clients read 255 bytes of a reply."""

MAX_NOTIFY_BYTES: Final = 512
"""Longest notify socket, and longest notify tag."""

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9a-fA-F]{2})")
_MEDIUM: Final = re.compile(rb"(.*);(\d{1,9})\Z", re.DOTALL)


class RtpproxyRequest(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        command: what to execute, or the Failure to reply with at once.
        name: the command's letter, `VF` too.
        error: the number of that Failure.
        names: of the counters (G, Q), or of the feature (VF).
        verbose: the names are in the reply, too.
        notifies: whether the settings have a notify socket, for the reply to VF.
        subject: see Subject.
    """

    command: Command | Failure
    name: str = ""
    error: Error = Error.SYNTAX
    names: tuple[str, ...] = ()
    verbose: bool = False
    notifies: bool = False
    subject: Subject = Subject()


def split_cookie(message: bytes) -> tuple[bytes, bytes] | None:
    """Split a datagram into cookie and payload; None if it has no cookie, and so can get no reply."""
    cookie, _, payload = message.partition(b" ")
    return (cookie, payload) if 0 < len(cookie) <= MAX_COOKIE_BYTES and payload else None


def decode_request(payload: bytes, *, notifies: bool = False) -> RtpproxyRequest:
    """Decode a request without its cookie. Never raises: an invalid request has a Failure as its command.

    Args:
        payload: the request.
        notifies: see RtpproxyRequest.
    """
    arguments = payload.split()
    try:
        if not arguments or b"\0" in payload or len(arguments) > MAX_ARGUMENTS:
            raise RequestError(Error.SYNTAX, "is empty, too long or has a NUL byte")
        if len(payload) > MAX_REQUEST_BYTES:
            raise RequestError(Error.SYNTAX, f"has more than {MAX_REQUEST_BYTES} bytes")
        return msgspec.structs.replace(_read_request(arguments), notifies=notifies)
    except RequestError as exc:
        return RtpproxyRequest(Failure.of(exc), error=exc.number, subject=_subject(arguments))
    except UnknownCommand as exc:
        return RtpproxyRequest(Failure.of(exc), error=Error.UNKNOWN_COMMAND, subject=_subject(arguments))


def _read_request(arguments: Sequence[bytes]) -> RtpproxyRequest:
    name, modifiers = _split_name(arguments[0])
    if name in UNSUPPORTED:
        raise RequestError(UNSUPPORTED[name], "nh neither plays, records nor copies")
    if name not in REQUESTS:
        raise UnknownCommand("the command is unknown")
    if b"&&" in arguments:
        raise RequestError(Error.SUBCOMMAND, "nh has no subcommands")
    least, most, read = REQUESTS[name]
    if not least <= len(arguments) <= most:
        raise RequestError(Error.ARGUMENTS, f"{len(arguments)} arguments are not {least} to {most}")
    return read(name, modifiers, arguments)


def _split_name(argument: bytes) -> tuple[str, str]:
    """The name of a command, and its modifiers."""
    text = argument.decode("latin-1")
    size = 2 if text[:2].upper() == "VF" else 1
    return text[:size].upper(), text[size:]


def _subject(arguments: Sequence[bytes]) -> Subject:
    return Subject(*arguments[:2])


# --- one reader for each command ------------------------------------------------------------------


def _read_update(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    options = read_session_options(modifiers)
    # Kamailio leaves the notify tag out, so that its to-tag is where the socket belongs
    shifted = len(arguments) == 7 and _MEDIUM.match(arguments[5]) is not None
    has_to_tag = shifted or len(arguments) in (6, 8)
    _, call_id, host, port, from_tag, *rest = arguments
    tag, medium = split_tag(from_tag)
    if not tag:
        raise RequestError(Error.SYNTAX, "the first tag is empty")
    address, number = _read_address(host, port)
    to_tag = split_tag(rest[0])[0] if has_to_tag else b""
    common = (_id(call_id), tag, to_tag, medium, address, number, options)
    if name == "L":
        return _about(Lookup(*common), name, arguments)
    target = _read_target(*rest[-2:]) if len(arguments) > 6 and not shifted else None
    return _about(Update(*common, target), name, arguments)


def _read_target(sock: bytes, tag: bytes) -> TimeoutTarget:
    """The notify socket, and the notify tag, in which `%` and two digits may be a byte."""
    if _BAD_ESCAPE.search(tag):
        raise RequestError(Error.NOTIFY_TAG, "the notify tag has an escape that is no byte")
    if len(sock) > MAX_NOTIFY_BYTES or len(tag) > MAX_NOTIFY_BYTES:
        raise RequestError(Error.SYNTAX, f"the notify socket or tag has more than {MAX_NOTIFY_BYTES} bytes")
    return TimeoutTarget(sock.decode("latin-1"), unquote_to_bytes(tag))


def _read_query(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "v", Error.QUERY_MODIFIER)
    tag, medium = split_tag(arguments[2])
    to_tag = split_tag(arguments[3])[0] if len(arguments) > 3 else b""
    return _about(
        QuerySession(_id(arguments[1]), tag, to_tag, medium),
        name,
        arguments,
        names=_texts(arguments[4:]),
        verbose=bool(modifiers),
    )


def _read_delete(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "w", Error.DELETE_MODIFIER)
    from_tag, to_tag = (split_tag(argument)[0] for argument in (*arguments[2:], b"")[:2])
    command = DeleteSessions(_id(arguments[1]), from_tag, to_tag, weak=bool(modifiers))
    return _about(command, name, arguments)


def _read_delete_all(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "", Error.MODIFIERS)
    return _about(DeleteAll(), name, arguments)


def _read_statistics(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "v", Error.STATISTICS_MODIFIER)
    return _about(GetStats(), name, arguments, names=_texts(arguments[1:]), verbose=bool(modifiers))


def _read_info(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "bl", Error.INFO_MODIFIER)
    return _about(GetStats(), name, arguments)


def _read_version(name: str, modifiers: str, arguments: Sequence[bytes]) -> RtpproxyRequest:
    _check(modifiers, "", Error.MODIFIERS)
    return _about(Ping(), name, arguments, names=_texts(arguments[1:]))


_Reader = Callable[[str, str, Sequence[bytes]], RtpproxyRequest]

REQUESTS: Final[Mapping[str, tuple[int, int, _Reader]]] = {
    "U": (5, 8, _read_update),
    "L": (5, 6, _read_update),
    "D": (3, 4, _read_delete),
    "Q": (3, MAX_ARGUMENTS, _read_query),
    "X": (1, 1, _read_delete_all),
    "G": (1, MAX_ARGUMENTS, _read_statistics),
    "I": (1, 1, _read_info),
    "V": (1, 1, _read_version),
    "VF": (2, 2, _read_version),
}
"""Each command: the least and the most of its arguments, its name included, and its reader."""

UNSUPPORTED: Final[Mapping[str, Error]] = {
    "P": Error.PLAY,
    "S": Error.PLAY,
    "R": Error.COPY,
    "N": Error.COPY,
    "C": Error.COPY,
}
"""Commands of rtpproxy that nh does not have: play and stop, record and stop, copy."""


def _about(
    command: Command,
    name: str,
    arguments: Sequence[bytes],
    *,
    names: tuple[str, ...] = (),
    verbose: bool = False,
) -> RtpproxyRequest:
    return RtpproxyRequest(command, name, names=names, verbose=verbose, subject=_subject(arguments))


def _check(modifiers: str, known: str, error: Error) -> None:
    unknown = set(modifiers.lower()) - set(known)
    if unknown:
        raise RequestError(error, f"unknown modifiers: {''.join(sorted(unknown))[:64]!r}")


def _texts(arguments: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(argument.decode("latin-1") for argument in arguments)


def _id(value: bytes) -> bytes:
    if len(value) > MAX_ID_BYTES:
        raise RequestError(Error.SYNTAX, f"an identifier has more than {MAX_ID_BYTES} bytes")
    return value


def split_tag(value: bytes) -> tuple[bytes, int]:
    """A tag and its media number, `TAG;N`; 0 if there is none.

    Raises:
        RequestError: the number is above MAX_MEDIA.
    """
    found = _MEDIUM.match(value)
    if found is None:
        return _id(value), 0
    medium = int(found[2])
    if medium > MAX_MEDIA:
        raise RequestError(Error.SYNTAX, f"media number {medium} is above {MAX_MEDIA}")
    return _id(found[1]), medium


def _read_address(host: bytes, port: bytes) -> tuple[str, int]:
    """Address and port of an end; a host name is taken as it is, and never resolved."""
    number = int(port) if port.isdigit() and len(port) <= 5 else -1
    if not 0 <= number <= 65_535:
        raise RequestError(Error.ADDRESS, f"port '{show_id(port[:16])}' is not in 0 to 65535")
    try:
        return canonical_host(host.decode("latin-1"), where="address"), number
    except MalformedRequest as exc:
        raise RequestError(Error.ADDRESS, str(exc)) from exc
