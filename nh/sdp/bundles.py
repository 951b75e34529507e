"""Bundles in SDP (BUNDLE, RFC 9143): what a medium says of itself there, and how they are written."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from nh.calls.bundle import MAX_SSRCS
from nh.sdp.description import Medium, Section, SessionDescription, drop_attributes
from nh.sdp.lines import Edits

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
    """The SSRCs of its a=ssrc (RFC 5576), each once, MAX_SSRCS at most; others are learnt from packets."""
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
        edits.insert_after(description.session.last, text.encode("ascii", "backslashreplace"))


def leave_groups(
    edits: Edits, description: SessionDescription, gone: Collection[int], appended: Iterable[bytes]
) -> None:
    """Let no a=group name media that are rejected or left out (RFC 5888 9.2, RFC 9143 7).

    Port 0 rejects them, so they are not a=bundle-only either. A mid that another medium has, too, stays.

    Args:
        edits: collects the changes.
        description: the SDP.
        gone: indexes of these media.
        appended: lines of further ones, which the relay adds.
    """
    added = {line[6:].decode("ascii", "backslashreplace") for line in appended if line[:6] == b"a=mid:"}
    if not gone and not added:
        return
    for session in description.sessions:
        left, leaving = set[str | None](), set(added)
        for index, medium in enumerate(description.media):
            if medium.session is not session:
                continue
            mid = medium.find_value("mid")
            if index not in gone:
                left.add(mid)
                continue
            drop_attributes(edits, medium, ("bundle-only",))
            if mid is not None:
                leaving.add(mid)
        _drop_from_groups(edits, session, {mid for mid in leaving if mid not in left})


def _drop_from_groups(edits: Edits, session: Section, leaving: Collection[str]) -> None:
    for line, value in session.attributes.get("group", ()):
        semantics, *named = value.decode("ascii", "backslashreplace").split() or [""]
        kept = [mid for mid in named if mid not in leaving]
        if not kept:
            edits.drop(line)
        elif kept != named:
            text = " ".join([f"a=group:{semantics}", *kept])
            edits.replace(line, text.encode("ascii", "backslashreplace"))


def write_mid(edits: Edits, medium: Medium, mid: str) -> None:
    """Let a medium have this a=mid."""
    line = f"a=mid:{mid}".encode("ascii", "backslashreplace")
    present = medium.attributes.get("mid", ())
    if present:
        edits.replace(present[0].line, line)
    else:
        edits.insert_after(medium.last, line)
