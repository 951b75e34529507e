"""Changes of lines that say nothing of a relay's ports: a=mid, a=extmap, and the direction of held media.

A client asks for them (nh.commands.SdpText). Those of whole a= lines are in nh.sdp.attributes, those of o=
and s= in nh.sdp.origin.
"""

import itertools
from collections.abc import Sequence
from typing import Final

from nh.commands import SdpText
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.lines import Edits
from nh.sdp.section import Direction, Section, drop_attributes, write_attribute

_HELD: Final = {Direction.SENDRECV: Direction.SENDONLY, Direction.RECVONLY: Direction.INACTIVE}
"""Direction of a medium on hold by its address, by the direction that it has."""


def change_text(edits: Edits, description: SessionDescription, text: SdpText, mids: Sequence[str]) -> None:
    """Collect the changes that `text` asks for.

    Args:
        edits: collects them.
        description: the SDP.
        text: what a client wants.
        mids: the a=mid that media get already, as far as they do.
    """
    if text.extensions:
        names = frozenset(text.extensions)  # a client may name thousands
        for section in (*description.sessions, *description.media):
            _drop_extensions(edits, section, names)
    if text.generate_mid:
        _generate_mids(edits, description, mids)


def hide_media(edits: Edits, description: SessionDescription, hidden: frozenset[int]) -> None:
    """Leave the sections of media out, but for their blank lines: only behind one may junk stand."""
    for index, medium in enumerate(description.media):
        if index in hidden:
            for line in range(medium.first, medium.last + 1):
                if not description.lines[line].blank:
                    edits.delete(line)


def hold_by_direction(edits: Edits, medium: Medium) -> None:
    """Say by the direction of a medium that its sender receives nothing, as 0.0.0.0 or :: says (RFC 3264).

    Not every receiver takes such an address for a hold, and with SdpText.zero_address it is gone.
    """
    direction = _HELD.get(medium.direction)
    if direction is None:
        return
    write_attribute(edits, medium, tuple(Direction), f"a={direction.value}".encode())


def _drop_extensions(edits: Edits, section: Section, names: frozenset[str]) -> None:
    """Remove RTP header extensions (RFC 8285) by name; `all` removes a=extmap-allow-mixed, too."""
    if "all" in names:
        drop_attributes(edits, section, ("extmap", "extmap-allow-mixed"))
        return
    for index, value in section.attributes.get("extmap", ()):
        if any(word in names for word in value.decode("ascii", "backslashreplace").split(maxsplit=2)[1:2]):
            edits.drop(index)


def _generate_mids(edits: Edits, description: SessionDescription, mids: Sequence[str]) -> None:
    """Name each medium without a=mid (RFC 5888) by its number, or by the next that no other medium has."""
    taken = {medium.mid for medium in description.media}.union(mids)
    for medium, named in itertools.zip_longest(description.media, mids[: len(description.media)]):
        if not (named or medium.has("mid")):
            mid = next(str(number) for number in itertools.count(medium.number) if str(number) not in taken)
            taken.add(mid)
            edits.insert_after(medium.last, f"a=mid:{mid}".encode())
