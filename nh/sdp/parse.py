"""Reading SDP (RFC 8866), as leniently as a relay can be: what it need not understand it does not judge.

An error is raised only for what would make a rewritten SDP wrong or a relay's work endless: a line that
is none, an m=, c= or o= that cannot be read, a second session, too much of anything. Blank lines may stand
anywhere; what follows one and is no line of SDP is junk that is handed through.
"""

import re
from collections.abc import Callable, Sequence

from nh.calls.media import MAX_MEDIA
from nh.errors import MalformedRequest
from nh.sdp.description import Attribute, Medium, Section, SessionDescription
from nh.sdp.fields import find_rtcp, read_connection, read_medium, read_origin
from nh.sdp.lines import Line, split_lines

MAX_BODY_BYTES = 65_536
"""Largest SDP body."""

MAX_LINES = 4096
"""Most lines: a body of nothing else would keep a shard from its packets for too long."""

_TYPED = re.compile(rb"[a-zA-Z]=")


def parse(body: bytes) -> SessionDescription:
    """The SDP in `body`; its lines joined are `body` again.

    Arguments:
        body: at most MAX_BODY_BYTES, with at most MAX_LINES lines and MAX_MEDIA m= lines. Lines end with
            CRLF, LF or CR, also mixed.

    Raises MalformedRequest, which says in which line and why.
    """
    if len(body) > MAX_BODY_BYTES:
        raise MalformedRequest(f"SDP: {len(body)} bytes are more than {MAX_BODY_BYTES}")
    lines = split_lines(body)
    if len(lines) > MAX_LINES:
        raise MalformedRequest(f"SDP: {len(lines)} lines are more than {MAX_LINES}")
    parts = _divide(lines)
    session = _read_section(lines, parts[0])
    return SessionDescription(
        lines=lines,
        session=session,
        origin=_read_first(lines, session.fields.get(b"o", ()), read_origin),
        media=tuple(
            _read_medium(lines, part, number, session) for number, part in enumerate(parts[1:], start=1)
        ),
    )


def _error(index: int, why: str) -> MalformedRequest:
    return MalformedRequest(f"SDP line {index + 1}: {why}")


def _divide(lines: tuple[Line, ...]) -> list[list[int]]:
    """The indexes of the lines with a meaning: the session's, then those of each medium."""
    parts: list[list[int]] = []
    after_blank = False
    for index, line in enumerate(lines):
        if line.blank:
            after_blank = True
        elif not _TYPED.match(line.text):
            if not after_blank:
                raise _error(index, f"{line.text[:32]!r} is no TYPE=VALUE")
        elif line.text.startswith(b"v="):
            _check_version(index, line, again=bool(parts))
            parts.append([index])
        elif not parts:
            raise _error(index, "an SDP starts with v=0")
        elif line.text.startswith(b"m="):
            if len(parts) > MAX_MEDIA:
                raise _error(index, f"more than {MAX_MEDIA} media")
            parts.append([index])
        else:
            parts[-1].append(index)
    if not parts:
        raise MalformedRequest("SDP: there is no line in it")
    return parts


def _check_version(index: int, line: Line, *, again: bool) -> None:
    if again:
        raise _error(index, "a second v=: an offer or answer is one session (RFC 3264 5)")
    if line.text[2:].strip() != b"0":
        raise _error(index, "only version 0 of SDP is known")


def _read_section(lines: tuple[Line, ...], indexes: list[int]) -> Section:
    fields: dict[bytes, list[int]] = {}
    attributes: dict[str, list[Attribute]] = {}
    for index in indexes:
        text = lines[index].text
        if text.startswith(b"a="):
            name, _, value = text[2:].partition(b":")
            attributes.setdefault(name.strip().decode("ascii", "backslashreplace"), []).append(
                Attribute(index, value.strip())
            )
        else:
            fields.setdefault(text[:1], []).append(index)
    return Section(
        first=indexes[0],
        last=indexes[-1],
        fields={letter: tuple(found) for letter, found in fields.items()},
        attributes={name: tuple(found) for name, found in attributes.items()},
        own_connection=_read_first(lines, fields.get(b"c", ()), read_connection),
    )


def _read_first(lines: tuple[Line, ...], indexes: Sequence[int], read: Callable[[bytes], str]) -> str | None:
    """What the first of these lines says; all of them must be readable."""
    found = None
    for index in indexes:
        try:
            said = read(lines[index].text)
        except MalformedRequest as exc:
            raise _error(index, str(exc)) from None
        found = found or said
    return found


def _read_medium(lines: tuple[Line, ...], indexes: list[int], number: int, session: Section) -> Medium:
    section = _read_section(lines, indexes)
    try:
        field = read_medium(lines[section.first].text)
    except MalformedRequest as exc:
        raise _error(section.first, str(exc)) from None
    told = section.attributes.get("rtcp")
    return Medium(
        first=section.first,
        last=section.last,
        fields=section.fields,
        attributes=section.attributes,
        own_connection=section.own_connection,
        number=number,
        field=field,
        # one a=rtcp cannot tell the ports of several pairs
        rtcp=find_rtcp(lines[told[0].line].text) if told and field.count == 1 else None,
        session=session,
    )
