"""Changes of a= lines that a client asks for (ng's sdp-attr): to be added, removed, or substituted.

They are carried out on the finished SDP, on the relay's own lines, too, and nothing else depends on them.
"""

from collections.abc import Iterable, Sequence

from nh.commands import MAX_FORWARDED_BYTES, AttributeEdit
from nh.errors import SdpTooLong
from nh.sdp.description import Medium
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.sdp.section import Section


def edit_attributes(body: bytes, changes: Sequence[AttributeEdit]) -> bytes:
    """The SDP with these changes.

    Args:
        body: a valid SDP.
        changes: of several that match a line, one that matches its name counts before one that matches its
            first word, too, and that before one for the whole line. A line that its section has already is
            not added again.

    Raises:
        SdpTooLong: one text in the place of many lines makes it far longer than it may be.
    """
    description = parse_own(body)
    edits = Edits(description.lines)
    for section in (*description.sessions, *description.media):
        kind = section.kind.lower() if isinstance(section, Medium) else ""
        wanted = [change for change in changes if change.kind == kind]
        if wanted:
            _edit_section(edits, section, wanted)
    if edits.new_bytes > MAX_FORWARDED_BYTES:  # before they are written: they may be a hundred megabytes
        raise SdpTooLong(
            f"the SDP would have {edits.new_bytes} bytes in changed lines; {MAX_FORWARDED_BYTES} are possible"
        )
    return edits.render()


def _edit_section(edits: Edits, section: Section, changes: Iterable[AttributeEdit]) -> None:
    by_match = {change.match.lower(): change.text for change in reversed(list(changes)) if change.match}
    present = set()
    for attributes in section.attributes.values():
        for index, _ in attributes:
            text = edits.text(index)[2:]
            found = next((key for key in _keys_of(text) if key in by_match), None)
            after = text if found is None else by_match[found]
            present.add(after)
            if not after:
                edits.drop(index)
            elif found is not None:
                edits.replace(index, b"a=" + after)
    for change in changes:
        if not change.match and change.text not in present:
            present.add(change.text)
            edits.insert_after(section.last, b"a=" + change.text)


def _keys_of(text: bytes) -> tuple[bytes, bytes, bytes]:
    """By what an attribute can be named: its name, `name:first-word`, and all of it."""
    whole = text.strip().lower()
    return whole.partition(b":")[0], whole.partition(b" ")[0], whole
