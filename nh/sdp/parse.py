"""Parsing SDP (RFC 8866), as leniently as a relay can: it ignores what it does not need.

Errors are only raised for what would make the rewritten SDP wrong or the work unbounded: a line that is not
TYPE=VALUE, a malformed m= or c=, an exceeded limit. Blank lines are accepted anywhere;
invalid lines after one are junk that is kept.
"""

import re
from collections.abc import Callable, Sequence

from nh.calls.media import MAX_MEDIA
from nh.errors import MalformedRequest
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.fields import find_rtcp, read_connection, read_medium, read_origin
from nh.sdp.lines import Line, split_lines
from nh.sdp.section import Attribute, Section, bundles_of

MAX_BODY_BYTES = 65_536
"""Largest SDP body."""

MAX_LINES = 4096
"""Most lines: more would delay the packets of a shard for too long."""

_SHOWN_BYTES = 4
"""How much of a line that cannot be read an error shows: it may be a part of a line with a key."""

_TYPED = re.compile(rb"[a-zA-Z]=")

_PLAIN = frozenset(b"%c=" % letter for letter in b"aosicbtrkuepz")
"""How lines begin that are neither the first of an SDP nor of a medium (RFC 8866 5)."""

_NAMES = {
    name.encode(): name
    for name in (
        *("rtpmap", "fmtp", "ptime", "maxptime", "rtcp", "rtcp-fb", "rtcp-mux", "ssrc", "mid", "extmap"),
        *("sendrecv", "sendonly", "recvonly", "inactive"),
        *("candidate", "ice-ufrag", "ice-pwd", "fingerprint", "setup", "crypto", "group"),
    )
}
"""Names of frequent attributes: to decode one takes longer."""


def parse(body: bytes) -> SessionDescription:
    """Parse an SDP; the lines of the result, joined, are `body`.

    Args:
        body: at most MAX_BODY_BYTES, with at most MAX_LINES lines and MAX_MEDIA m= lines. Lines end with
            CRLF, LF or CR, also mixed.

    Raises:
        MalformedRequest: with the number of the line and the reason.
    """
    if len(body) > MAX_BODY_BYTES:
        raise MalformedRequest(f"SDP: {len(body)} bytes exceed the limit of {MAX_BODY_BYTES}")
    lines = split_lines(body)
    if len(lines) > MAX_LINES:
        raise MalformedRequest(f"SDP: {len(lines)} lines exceed the limit of {MAX_LINES}")
    return _parse_lines(lines)


def parse_own(body: bytes) -> SessionDescription:
    """Parse an SDP that nh has rewritten, which may have more bytes and lines than came."""
    return _parse_lines(split_lines(body))


def _parse_lines(lines: tuple[Line, ...]) -> SessionDescription:
    sessions: list[Section] = []
    media: list[Medium] = []
    for part in _divide(lines):
        if lines[part.first].text.startswith(b"v="):
            sessions.append(_make_section(lines, part))
        else:
            media.append(_read_medium(lines, part, len(media) + 1, sessions[-1]))
    origin, bad_origin = _read_origins(lines, sessions)
    return SessionDescription(
        lines=lines, sessions=tuple(sessions), origin=origin, media=tuple(media), bad_origin=bad_origin
    )


def _error(index: int, why: str) -> MalformedRequest:
    return MalformedRequest(f"SDP line {index + 1}: {why}")


def _read_origins(lines: tuple[Line, ...], sessions: Sequence[Section]) -> tuple[str | None, str]:
    """The first session's origin, and what is wrong with the first o= that cannot be read.

    An o= is no error in itself: the relay hands it through unless the client asks to replace it.
    """
    origin, bad = None, ""
    for session in sessions:
        try:
            found = _read_first(lines, session.fields.get(b"o", ()), read_origin)
        except MalformedRequest as exc:
            bad = bad or str(exc)
        else:
            origin = found if session is sessions[0] else origin
    return origin, bad


class _Part:
    """The valid lines of one section, as they are read; for the attributes see Section."""

    __slots__ = ("attributes", "fields", "first", "last")

    def __init__(self, first: int, letter: bytes) -> None:
        self.first = self.last = first
        self.fields: dict[bytes, list[int]] = {letter: [first]}
        self.attributes: dict[str, list[Attribute]] = {}


def _divide(lines: tuple[Line, ...]) -> list[_Part]:
    """The valid lines, in parts: a session, then each of its media, and so on."""
    parts: list[_Part] = []
    part = _Part(0, b"")  # never used: the first line begins one, or is an error
    media = 0
    after_blank = False
    for index, line in enumerate(lines):
        text = line.text
        start = text[:2]
        if start == b"a=" and parts:  # most lines; not a method, which would take a call for each
            raw, _, value = text[2:].partition(b":")
            name = _NAMES.get(raw) or raw.strip().decode("ascii", "backslashreplace")
            if name in part.attributes:
                part.attributes[name].append(Attribute(index, value.strip()))
            else:
                part.attributes[name] = [Attribute(index, value.strip())]
            part.last = index
            continue
        if not parts or start not in _PLAIN:  # nearly all others are plain
            if not _TYPED.match(text):
                if line.blank:
                    after_blank = True
                elif not after_blank:
                    raise _error(index, f"{text[:_SHOWN_BYTES]!r} is not TYPE=VALUE")
                continue
            media += start == b"m="
            if _begins_part(index, text, media, first=not parts):
                part = _Part(index, text[:1])
                parts.append(part)
                continue
        part.fields.setdefault(text[:1], []).append(index)
        part.last = index
    if not parts:
        raise MalformedRequest("SDP: no lines")
    return parts


def _begins_part(index: int, text: bytes, media: int, *, first: bool) -> bool:
    """Whether a line begins a part.

    Args:
        index, text: the line's.
        media: the number of m= lines so far.
        first: whether no line came before it.
    """
    if text.startswith(b"v="):
        if text[2:].strip() != b"0":
            raise _error(index, "the SDP version is not 0")
        return True
    if first:
        raise _error(index, "an SDP must start with v=0")
    if text.startswith(b"m="):
        if media > MAX_MEDIA:
            raise _error(index, f"more than {MAX_MEDIA} media")
        return True
    return False


def _make_section(lines: tuple[Line, ...], part: _Part) -> Section:
    fields = part.fields
    own_connection = _read_first(lines, fields[b"c"], read_connection) if b"c" in fields else None
    attributes = part.attributes
    return Section(part.first, part.last, fields, attributes, own_connection, bundles_of(attributes))


def _read_first(lines: tuple[Line, ...], indexes: Sequence[int], read: Callable[[bytes], str]) -> str | None:
    """The value of the first of these lines; all of them must be well-formed."""
    found = None
    for index in indexes:
        try:
            value = read(lines[index].text)
        except MalformedRequest as exc:
            raise _error(index, str(exc)) from None
        found = found or value
    return found


def _read_medium(lines: tuple[Line, ...], part: _Part, number: int, session: Section) -> Medium:
    section = _make_section(lines, part)
    try:
        field = read_medium(lines[section.first].text)
    except MalformedRequest as exc:
        raise _error(section.first, str(exc)) from None
    rtcp = section.attributes.get("rtcp")
    # a=rtcp has one port, so it does not apply to several pairs of ports
    found = find_rtcp(lines[rtcp[0].line].text) if rtcp and field.count == 1 else None
    return Medium.of(section, number, field, found, session)
