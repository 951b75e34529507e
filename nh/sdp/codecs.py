"""Choosing codecs: which of those in an SDP its receiver sees, and in which order (ng's key `codec`).

Only what an SDP says changes, no packet. rtpengine's rules, where they need no transcoding.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from nh.calls.rtp.payload_types import CLOCKLESS, MAX_FORMATS, STATIC
from nh.commands import CodecChoice
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.fields import write_medium_formats, write_medium_port
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.sdp.section import drop_attributes

_ALL: Final = frozenset({"all", "full"})

_STATIC: Final = {str(each.payload_type): f"{each.encoding}/{each.clock_hz}" for each in STATIC}
"""By payload type: what its a=rtpmap would say."""

_NUMBERS: Final = re.compile(r"\d{1,3}(?:/\d{1,3})*+\Z", re.ASCII)
"""Payload types in an a=fmtp of redundancy (RFC 2198 5)."""

_OF_ONE_TYPE: Final = ("rtpmap", "fmtp", "rtcp-fb")
"""Attributes whose value begins with a payload type."""


class _Codec(NamedTuple):
    """A payload type of a medium: its number, and what its a=rtpmap says, in small letters.

    Attributes:
        keys: all by which a client may name it, each as _key has it.
        carries: the payload types that it retransmits (RFC 4588) or repeats (RFC 2198), as far as it says.
    """

    number: str
    name: str
    clock: str
    keys: tuple[str, ...]
    carries: frozenset[str]

    @property
    def is_supplement(self) -> bool:
        """Whether it is of no use without a codec."""
        return self.name in CLOCKLESS


def _key(wanted: str) -> str:
    """A name of CodecChoice in the form of _Codec.keys: beside a clock rate the channels, 1 by default."""
    name, *details = wanted.lower().split("/")
    clock, channels = (*details, "", "")[:2]
    return f"{name}/{clock}/{channels or 1}" if clock and not name.isdigit() else name


def _keys(names: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_key, names))


class ChosenCodecs(NamedTuple):
    """An SDP with the codecs that its receiver sees.

    Attributes:
        description: the SDP.
        missing: names in CodecChoice.transcode that no medium has.
        transcoded: whether a medium of audio has none of them, so that they would need transcoding.
    """

    description: SessionDescription
    missing: tuple[str, ...] = ()
    transcoded: bool = False


def choose_codecs(description: SessionDescription, choice: CodecChoice, *, offer: bool) -> ChosenCodecs:
    """The SDP with the codecs of a choice; the same object if that changes nothing.

    Args:
        description: the SDP.
        choice: what a client wants.
        offer: whether it is an offer.
    """
    edits = Edits(description.lines)
    changed = False
    wanted = choice.transcode if offer else ()
    missing, transcoded = set(wanted), False
    spoken = False
    for medium in description.media:
        codecs = _codecs_of(medium)
        if not codecs:
            continue
        left = _choose(codecs, choice, offer=offer)
        if medium.kind == "audio":
            present = {key for each in left for key in each.keys}
            lacking = {name for name in wanted if _key(name) not in present}
            missing &= lacking
            spoken = True
            transcoded |= bool(wanted) and len(lacking) == len(set(wanted))
        if left != codecs:
            _write(edits, medium, left, codecs, choice)
            changed = True
    named = tuple(name for name in dict.fromkeys(wanted) if name in missing) if spoken else ()
    return ChosenCodecs(parse_own(edits.render()) if changed else description, named, transcoded)


def _choose(codecs: Sequence[_Codec], choice: CodecChoice, *, offer: bool) -> list[_Codec]:
    """What is left of the codecs of a medium, in their order; none if all go."""
    unwanted = (*choice.strip, *(choice.mask if offer else ()))
    named = [name for name in unwanted if name.lower() not in _ALL]
    gone = _keys(named)
    left = [each for each in codecs if gone.isdisjoint(each.keys)]
    if len(named) < len(unwanted):
        kept = _keys(choice.keep)
        left = [each for each in left if not kept.isdisjoint(each.keys)]
    restored = choice.transcode if offer and "all" in unwanted else ()
    if choice.offer or restored:
        _restore(left, codecs, (*choice.offer, *restored))
    if len(left) < len(codecs):
        left = _with_their_own(left)
    return _first_of(left) if choice.single and not offer else left


def _restore(left: list[_Codec], codecs: Iterable[_Codec], names: Iterable[str]) -> None:
    """Add to what is left those of the codecs that have one of these names, if none that is left has it."""
    named: dict[str, list[_Codec]] = {}
    for each in codecs:
        for key in each.keys:
            named.setdefault(key, []).append(each)
    numbers = {each.number for each in left}
    for key in dict.fromkeys(map(_key, names)):
        found = named.get(key, ())
        if not any(each.number in numbers for each in found):
            left += found
            numbers.update(each.number for each in found)


def _with_their_own(codecs: list[_Codec]) -> list[_Codec]:
    """The codecs without those that belong to none of them any more.

    telephone-event stays if there is none at the clock rate of a codec: some phones send all events at 8,000.
    """
    numbers = {each.number for each in codecs}
    kept = [each for each in codecs if each.carries <= numbers]
    if len(kept) < len(codecs):  # what carries one of the others goes, too
        return _with_their_own(kept)
    clocks = {each.clock for each in codecs if not each.is_supplement}
    if not clocks:
        return []
    events = {each.clock for each in codecs if each.name == "telephone-event"}
    gone = events - clocks if events & clocks else set()
    return [each for each in codecs if each.name != "telephone-event" or each.clock not in gone]


def _first_of(codecs: list[_Codec]) -> list[_Codec]:
    """The first codec, with the supplements at its clock rate; events of another one if it has none."""
    first = next((each for each in codecs if not each.is_supplement), None)
    if first is None:
        return codecs
    return _with_their_own(
        [
            each
            for each in codecs
            if each == first
            or (each.is_supplement and (each.clock == first.clock or each.name == "telephone-event"))
        ]
    )


def _write(
    edits: Edits, medium: Medium, left: list[_Codec], codecs: Sequence[_Codec], choice: CodecChoice
) -> None:
    """Have a medium show the codecs that are left; one without any is rejected, or keeps all."""
    title = edits.text(medium.first)
    if not left:
        if choice.reject_empty:
            edits.replace(medium.first, write_medium_port(title, 0))
            drop_attributes(edits, medium, ("bundle-only",))
        return
    edits.replace(medium.first, write_medium_formats(title, [each.number.encode() for each in left]))
    gone = {each.number for each in codecs}.difference(each.number for each in left)
    for name in _OF_ONE_TYPE:
        for line, value in medium.attributes.get(name, ()):
            if value.partition(b" ")[0].decode("ascii", "replace") in gone:
                edits.drop(line)


def _codecs_of(medium: Medium) -> list[_Codec]:
    """The payload types of an m= line, in its order, each once; none of media that are not RTP."""
    if not medium.rtp or medium.rejected or len(medium.field.formats) > MAX_FORMATS:
        return []
    mapped = dict(_STATIC)
    for _, value in medium.attributes.get("rtpmap", ()):
        number, _, encoding = value.decode("utf-8", "backslashreplace").partition(" ")
        mapped[number] = encoding.strip()
    numbers = dict.fromkeys(each.decode("ascii", "backslashreplace") for each in medium.field.formats)
    carried = _carried_by(medium)
    return [_codec(number, mapped.get(number, ""), carried.get(number, "")) for number in numbers]


def _codec(number: str, encoding: str, carried: str) -> _Codec:
    name, clock, channels = (*encoding.lower().split("/"), "", "")[:3]
    carries = frozenset(carried.split("/")) if carried and name in ("rtx", "red") else frozenset[str]()
    names = (name, f"{name}/{clock}/{channels or 1}") if name and not name.isdigit() else ()
    return _Codec(number, name, clock, (number, *names) if number.isdigit() else names, carries)


def _carried_by(medium: Medium) -> Mapping[str, str]:
    """By payload type: those that it carries if it is rtx, `apt=96`, or red, `111/111`, joined by slashes."""
    found = {}
    for _, value in medium.attributes.get("fmtp", ()):
        number, _, parameters = value.decode("ascii", "replace").partition(" ")
        for parameter in parameters.split(";"):
            name, _, repaired = parameter.strip().partition("=")
            if name == "apt":
                found[number] = repaired.strip()
            elif _NUMBERS.match(name):
                found[number] = name
    return found
