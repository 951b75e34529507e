"""A section of a parsed SDP: its lines and attributes, of the session or of one medium.

It has the indexes of its lines, by which edits find them.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from nh.calls.bundle import TOKEN_ENCODING
from nh.sdp.lines import Edits


class Direction(enum.StrEnum):
    """Direction of a medium, from the point of view of the sender of the SDP (RFC 8866 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


_DIRECTIONS = tuple((direction.value, direction) for direction in Direction)


class Attribute(NamedTuple):
    """One a= line: its index among all lines, and its value after the colon, b"" without one."""

    line: int
    value: bytes


class Section(msgspec.Struct, frozen=True):
    """The session section of an SDP, or the section of one medium.

    Attributes:
        first, last: indexes of its first and last valid line; blank lines and junk after it do not count.
        fields: indexes of its lines by type letter, without a= lines.
        attributes: its a= lines by name.
        own_connection: address of its own c= line; None without one.
        bundles: the a=mid values of each a=group:BUNDLE; the first one's ports carry all media (RFC 9143 7).
    """

    first: int
    last: int
    fields: Mapping[bytes, Sequence[int]]
    attributes: Mapping[str, Sequence[Attribute]]
    own_connection: str | None
    bundles: tuple[tuple[str, ...], ...]

    def has(self, name: str) -> bool:
        """Whether the section itself has an attribute of this name."""
        return name in self.attributes

    def find_value(self, name: str) -> str | None:
        """Value of its first attribute of this name, None without one. Bytes other than ASCII are escaped."""
        found = self.attributes.get(name)
        return found[0].value.decode("ascii", "backslashreplace") if found else None

    @property
    def mid(self) -> str | None:
        """Its first a=mid, in TOKEN_ENCODING; None without one."""
        found = self.attributes.get("mid")
        return found[0].value.strip().decode(TOKEN_ENCODING) if found else None

    @property
    def own_direction(self) -> Direction | None:
        """Its own direction attribute; None without one."""
        attributes = self.attributes
        for name, direction in _DIRECTIONS:
            if name in attributes:
                return direction
        return None


def bundles_of(attributes: Mapping[str, Sequence[Attribute]]) -> tuple[tuple[str, ...], ...]:
    """The bundles of a section by its attributes, see Section."""
    if "group" not in attributes:
        return ()
    groups = (attribute.value.split() for attribute in attributes["group"])
    return tuple(
        [
            tuple([mid.decode(TOKEN_ENCODING) for mid in mids])
            for semantics, *mids in filter(None, groups)
            if semantics == b"BUNDLE"
        ]
    )


def drop_attributes(edits: Edits, section: Section, names: tuple[str, ...]) -> None:
    """Remove the a= lines of a section that have one of these names."""
    if section.attributes.keys().isdisjoint(names):
        return
    for name in names:
        for line, _ in section.attributes.get(name, ()):
            edits.drop(line)


def write_attribute(edits: Edits, section: Section, names: Sequence[str], text: bytes) -> None:
    """Let a section have one a= line in place of all that have one of these names.

    Args:
        edits: collects the change.
        section: it.
        names: of attributes that exclude each other; peers differ in which of several they take.
        text: the new line, where the first of them is, or else at the end of the section.
    """
    present = sorted(line for name in names for line, _ in section.attributes.get(name, ()))
    for line in present[1:]:
        edits.drop(line)
    if present:
        edits.replace(present[0], text)
    else:
        edits.insert_after(section.last, text)
