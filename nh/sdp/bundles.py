"""Bundles in SDP (BUNDLE, RFC 9143): what a medium says of itself there, and how they are written."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from nh.calls.bundle import MAX_SSRCS, TOKEN_ENCODING
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.fields import make_connection, write_medium_port
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.sdp.section import Section, drop_attributes, write_attribute

_MID_EXTENSION: Final = b"urn:ietf:params:rtp-hdrext:sdes:mid"
_EXTMAP: Final = re.compile(rb"(?P<id>\d{1,5})(?:/\w+)?[ \t]+(?P<uri>\S+)")
_SSRC: Final = re.compile(rb"(?P<ssrc>\d{1,10})(?:[ \t]|\Z)")


def mid_extension_of(medium: Medium) -> int:
    """The id of the header extension with the mid (RFC 9143 15), 1 to 255; 0 without one."""
    for section in (medium, medium.session):
        for _, value in section.attributes.get("extmap", ()):
            found = _EXTMAP.match(value.strip())
            if found is not None and found["uri"] == _MID_EXTENSION and 1 <= int(found["id"]) <= 255:
                return int(found["id"])
    return 0


def ssrcs_of(medium: Medium) -> tuple[int, ...]:
    """The SSRCs of its a=ssrc (RFC 5576), each once, MAX_SSRCS at most; others are learned from packets."""
    values = (_SSRC.match(value.strip()) for _, value in medium.attributes.get("ssrc", ()))
    numbers = dict.fromkeys(int(found["ssrc"]) for found in values if found is not None)
    return tuple([number for number in numbers if number < 2**32][:MAX_SSRCS])


def write_bundles(edits: Edits, description: SessionDescription, bundles: Sequence[Sequence[str]]) -> None:
    """Let an SDP have these bundles, and no others: a=group:BUNDLE of the first session section.

    Args:
        edits: collects the changes.
        description: the SDP.
        bundles: a=mid values, those of each bundle.
    """
    for section in description.sessions:
        for line, value in section.attributes.get("group", ()):
            if value.split()[:1] == [b"BUNDLE"]:
                edits.drop(line)
    for medium in description.media:
        drop_attributes(edits, medium, ("bundle-only",))
    for mids in bundles:
        text = " ".join(["a=group:BUNDLE", *mids])
        edits.insert_after(description.session.last, text.encode(TOKEN_ENCODING))


def leave_groups(
    edits: Edits, description: SessionDescription, gone: Collection[int], appended: Iterable[bytes]
) -> None:
    """Let no a=group name media that are rejected, left out or without a=mid (RFC 5888 9.2, RFC 9143 7).

    They are not a=bundle-only either. A mid that another medium has, too, stays.

    Args:
        edits: collects the changes.
        description: the SDP.
        gone: indexes of these media.
        appended: lines of further ones, which the relay adds.
    """
    added = {line[6:].decode(TOKEN_ENCODING) for line in appended if line[:6] == b"a=mid:"}
    if not gone and not added:
        return
    for session in description.sessions:
        left, leaving = set[str | None](), set(added)
        for index, medium in enumerate(description.media):
            if medium.session is not session:
                continue
            mid = medium.mid
            if index not in gone:
                left.add(mid)
                continue
            drop_attributes(edits, medium, ("bundle-only",))
            if mid is not None:
                leaving.add(mid)
        _drop_from_groups(edits, session, {mid for mid in leaving if mid not in left})


def _drop_from_groups(edits: Edits, session: Section, leaving: Collection[str]) -> None:
    for line, value in session.attributes.get("group", ()):
        semantics, *named = [each.decode(TOKEN_ENCODING) for each in value.split()] or [""]
        kept = [mid for mid in named if mid not in leaving]
        if not kept:
            edits.drop(line)
        elif kept != named:
            text = " ".join([f"a=group:{semantics}", *kept])
            edits.replace(line, text.encode(TOKEN_ENCODING))


def new_tagged_media(description: SessionDescription, gone: Collection[int]) -> dict[int, int]:
    """The media that become the tagged ones of bundles whose tagged media are rejected (RFC 9143 7.3.1).

    Args:
        description: the SDP.
        gone: indexes of the media that are rejected in it beside those that are so already.

    Returns:
        The index of the tagged medium before, by that of the new one. Media with a transport of their own
        keep it, and are not among them.
    """
    if not gone:
        return {}
    by_mid = {medium.mid: medium for medium in description.media if not medium.rejected}
    found: dict[int, int] = {}
    for mids in description.bundles:
        members = [by_mid[mid] for mid in mids if mid in by_mid]
        new = next((each for each in members if each.number - 1 not in gone), None)
        if new is not None and new is not members[0] and new.port in (0, members[0].port):
            found[new.number - 1] = members[0].number - 1
    return found


def take_transports(
    description: SessionDescription,
    new_tagged: Mapping[int, int],
    source: SessionDescription,
    names: Sequence[str],
) -> SessionDescription:
    """An SDP in which new tagged media have the port and the transport of those before them.

    Args:
        description: the SDP.
        new_tagged: see new_tagged_media().
        source: the same SDP before the others were rejected.
        names: of the attributes of a transport.
    """
    if not new_tagged:
        return description
    edits = Edits(description.lines)
    for index, index_before in new_tagged.items():
        medium, before = description.media[index], source.media[index_before]
        edits.replace(medium.first, write_medium_port(edits.text(medium.first), before.port))
        if before.connection is not None and medium.connection != before.connection:
            for line in medium.fields.get(b"c", ()):
                edits.drop(line)
            edits.insert_after(
                max((medium.first, *medium.fields.get(b"i", ()))), make_connection(before.connection)
            )
        drop_attributes(edits, medium, (*names, "bundle-only"))
        transport = description.media[index_before].attributes
        for line in sorted(each.line for name in names for each in transport.get(name, ())):
            edits.insert_after(medium.last, edits.text(line))
    return parse_own(edits.render())


def write_mid(edits: Edits, medium: Medium, mid: str) -> None:
    """Let a medium have this a=mid."""
    write_attribute(edits, medium, ("mid",), f"a=mid:{mid}".encode(TOKEN_ENCODING))
