"""The counters of one medium, as rtpproxy's Q has them. Pure functions; they change no call."""

from collections.abc import Sequence

from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.results import SessionCounters


def count_session(dialogs: Sequence[Dialog], party: Party, medium: int, *, ttl_s: int) -> SessionCounters:
    """The RTP of one medium, as long as its ports have been the same.

    Args:
        dialogs: those of `party`.
        party: the end that is named first.
        medium: index of the medium.
        ttl_s: see SessionCounters.
    """
    own: list[Leg] = []
    others: list[Leg] = []
    for dialog in dialogs:
        for index, session in dialog.running:
            if index == medium:
                side = dialog.side_of(party)
                own.append(session.legs[side])
                others.append(session.legs[side.other])
    streams = [stream for leg in own for stream in leg.streams]
    received = [sum(leg.packets for leg in legs) for legs in (own, others)]
    lost_here = sum(_dropped(leg, admitted=True) for leg in (*own, *others))
    return SessionCounters(
        ttl_s=ttl_s,
        from_packets=received[0],
        to_packets=received[1],
        relayed=max(0, sum(received) - lost_here),
        dropped=lost_here + sum(_dropped(leg, admitted=False) for leg in (*own, *others)),
        expected=sum(stream.expected for stream in streams),
        unique=sum(stream.packets - stream.duplicates for stream in streams),
        duplicates=sum(stream.duplicates for stream in streams),
        lost=sum(stream.lost for stream in streams),
    )


def _dropped(leg: Leg, *, admitted: bool) -> int:
    return sum(
        count for reason, count in zip(Drop, leg.drops or (), strict=False) if reason.admitted is admitted
    )
