"""Calls as ng's `query` and `delete` tell them: parties, their media, and what arrived at each port.

Pure functions; they change nothing.
"""

from nh.calls.dialogue import Dialogue, Party
from nh.calls.leg import Leg
from nh.calls.media import Side
from nh.calls.offers import Offers
from nh.commands import MediumReading, Queried, StreamReading, TagReading


def query_call(offers: Offers, *, created: float, from_tag: bytes, wall_offset_s: float) -> Queried:
    """What is known of a call.

    Arguments:
        offers: its parties and dialogues.
        created: monotonic seconds of its start.
        from_tag: only this end; b"" for all.
        wall_offset_s: what to add to monotonic seconds to get wall-clock seconds.
    """
    return Queried(
        created=int(created + wall_offset_s),
        last_signal=int(offers.last_signal + wall_offset_s),
        tags=tuple(
            _tag(party, offers.dialogues, wall_offset_s=wall_offset_s)
            for party in offers.parties.values()
            if from_tag in (b"", party.tag)
        ),
    )


def _tag(party: Party, dialogues: list[Dialogue], *, wall_offset_s: float) -> TagReading:
    dialogue = next((each for each in dialogues if each.has(party)), None)
    peer = b""
    if dialogue is not None:
        peer = (dialogue.callee if party is dialogue.caller else dialogue.caller).tag
    return TagReading(
        tag=party.tag,
        label=party.label,
        created=int(party.created + wall_offset_s),
        in_dialogue_with=peer,
        media=tuple(
            _medium(party, dialogue, index, wall_offset_s=wall_offset_s)
            for index, group in enumerate(party.groups)
            if group is not None
        ),
    )


def _medium(party: Party, dialogue: Dialogue | None, index: int, *, wall_offset_s: float) -> MediumReading:
    """One medium with the streams that this party sends."""
    group = party.groups[index]
    assert group is not None
    session = dialogue.sessions.get(index) if dialogue is not None else None
    legs: tuple[Leg, ...] = ()
    if dialogue is not None and session is not None:
        legs = session.legs[0::2] if dialogue.side_of(party) is Side.FROM else session.legs[1::2]
    return MediumReading(
        index=index + 1,
        kind=group.media[0].kind,
        proto=group.media[0].proto,
        streams=tuple(_stream(leg, number, wall_offset_s=wall_offset_s) for number, leg in enumerate(legs, start=1)),
    )


def _stream(leg: Leg, component: int, *, wall_offset_s: float) -> StreamReading:
    return StreamReading(
        local_port=leg.socket.local.port,
        component=component,
        announced=str(leg.announced) if leg.announced else None,
        source=str(leg.source) if leg.source else None,
        packets=leg.packets,
        bytes=leg.bytes,
        errors=sum(leg.drops or ()),
        last_packet=0 if leg.last_seen is None else int(leg.last_seen + wall_offset_s),
    )
