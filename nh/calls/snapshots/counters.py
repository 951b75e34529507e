"""What packets change in a call, beside its snapshot: small, so that it can be saved often.

It is what a snapshot has of the legs that packets came to, for a process that takes over the flows in the
kernel, too. What else changes (sources, parties, keys, the
journal) is in the next snapshot only.
"""

from typing import Final

import msgspec

from nh.calls.call import Call
from nh.calls.leg import Leg
from nh.calls.snapshots.call import CallSnapshot
from nh.calls.snapshots.leg import LegSnapshot
from nh.calls.snapshots.session import SessionSnapshot
from nh.calls.snapshots.values import Time
from nh.errors import SnapshotUnreadable
from nh.reasons import decode_fault


class SessionCounters(msgspec.Struct, array_like=True, frozen=True):
    """What packets change in a session.

    Attributes:
        id: of the session.
        last_active: see Session.
        legs: as a snapshot has them, but for their payload types; None: no packet has come to the leg.
    """

    id: int
    last_active: Time
    legs: list[LegSnapshot | None]


CallCounters = list[SessionCounters]
"""What packets change in a call."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(CallCounters)


def take_counters(call: Call) -> CallCounters | None:
    """The counters of a call; nothing in the call changes. Call.note() brings them up to date.

    Returns:
        None if packets change more than this: the windows of SRTP are with the keys, in snapshots only.
    """
    counters = []
    for session in call.running:
        legs: list[LegSnapshot | None] = []
        for leg in session.legs:
            if leg.security is not None:
                return None
            reached = _was_reached(leg)
            legs.append(LegSnapshot.take(leg, leg.payload_types, flow_stays=True) if reached else None)
        counters.append(SessionCounters(session.id, session.last_active, legs))
    return counters


def encode_counters(counters: CallCounters) -> bytes:
    """The counters as bytes, for a process of the same version."""
    return _encoder.encode(counters)


def decode_counters(data: bytes) -> CallCounters:
    """The counters that encode_counters() wrote.

    Raises:
        SnapshotUnreadable: the data are damaged.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SnapshotUnreadable(decode_fault(exc, "counters")) from exc


def add_counters(snapshot: CallSnapshot, counters: CallCounters) -> CallSnapshot:
    """The snapshot as it would be if it had been taken with the counters.

    Args:
        snapshot: of the call.
        counters: taken later, before the call changed otherwise.
    """
    later = {each.id: each for each in counters}
    sessions = [
        _add(session, later[session.id]) if session.id in later else session for session in snapshot.sessions
    ]
    return msgspec.structs.replace(snapshot, sessions=sessions)


def _add(session: SessionSnapshot, later: SessionCounters) -> SessionSnapshot:
    if len(later.legs) != len(session.legs):
        raise SnapshotUnreadable("counters: a session has other legs than its snapshot")
    legs = [
        leg if new is None else msgspec.structs.replace(new, payload_types=leg.payload_types)
        for leg, new in zip(session.legs, later.legs, strict=True)
    ]
    return msgspec.structs.replace(session, last_active=later.last_active, legs=legs)


def _was_reached(leg: Leg) -> bool:
    asked = leg.heard_packets >= 0  # by the rules of latching, for a packet of another leg
    return bool(leg.packets or leg.drops or leg.trials or leg.unreachable or asked)
