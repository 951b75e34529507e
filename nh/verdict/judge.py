"""The verdicts on a call: the first rule that applies to each direction."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from nh.calls.call_event import Client
from nh.results import CallDetail, CallRecord, PairDetail, SessionDetail, StreamDetail
from nh.verdict import arrival, delivery, expected, ice
from nh.verdict.ruling import Direction, Rule, Ruling, State, port_of, received


class Verdict(msgspec.Struct, frozen=True):
    """One direction of one medium.

    Attributes:
        session: `sessionid` of the session.
        medium, kind: which medium of the SDP, from 0, and what it is ("audio").
        sender: "from" or "to", the end whose media these are.
        state, found, cause, remedy: see Ruling.
        filter: a filter for tcpdump on the relay's host that shows both directions of the medium.
        announced: where the sender's SDP says that it is; None: nothing usable.
        seen: where its packets come from; None: none came.
        sent_to: where they go; None: nowhere yet.
        advertised: where the SDP that the sender got says that it has to send.
    """

    session: int
    medium: int
    kind: str
    sender: str
    state: State
    found: str
    cause: str
    remedy: str
    filter: str
    announced: str | None
    seen: str | None
    sent_to: str | None
    advertised: str


class Ending(msgspec.Struct, frozen=True):
    """How a call ended; see CallRecord for the fields."""

    end: datetime
    duration_s: float
    reason: str
    ended_by: Client | None


class CallVerdict(msgspec.Struct, frozen=True):
    """The verdicts on a call.

    Attributes:
        call_id: the call's.
        ended: how it ended, as of when the verdicts are then; None: it goes on.
        verdicts: both directions of each medium; none while no session joins two ends.
    """

    call_id: bytes
    ended: Ending | None
    verdicts: tuple[Verdict, ...]

    @property
    def has_problem(self) -> bool:
        """Whether an end hears nothing, or badly."""
        return any(verdict.state is State.PROBLEM for verdict in self.verdicts)


def judge_call(call: CallDetail | CallRecord) -> CallVerdict:
    """The verdicts on all media of a call; none on sessions that another has replaced, and on RTCP.

    Args:
        call: the call, or the record of one that has ended.
    """
    ended = None
    if isinstance(call, CallRecord):
        ended = Ending(call.end, call.duration_s, call.reason, call.ended_by)
        call = call.as_call()
    return CallVerdict(call.call_id, ended, tuple(_verdicts(call)))


def _verdicts(call: CallDetail) -> Iterator[Verdict]:
    for session in call.sessions:
        if session.state == "replaced":
            continue
        for pair in session.pairs:
            if pair.component == 0:
                yield from _judge_pair(session, pair, _rtcp_of(session, pair))


def _rtcp_of(session: SessionDetail, pair: PairDetail) -> PairDetail | None:
    return next((each for each in session.pairs if (each.medium, each.component) == (pair.medium, 1)), None)


def _judge_pair(session: SessionDetail, pair: PairDetail, rtcp: PairDetail | None) -> Iterator[Verdict]:
    ports = sorted({port_of(leg.local) for leg in (pair.from_, pair.to)}, key=int)
    look = f"udp and ({' or '.join(f'port {port}' for port in ports)})"
    rtcp_from, rtcp_to = (None, None) if rtcp is None else (rtcp.from_, rtcp.to)
    for sender, leg, other, reports in (
        ("from", pair.from_, pair.to, rtcp_from),
        ("to", pair.to, pair.from_, rtcp_to),
    ):
        direction = Direction(session.state, leg, other, reports, session.age_s, session.carried_by)
        ruling = next(ruling for rule in RULES if (ruling := rule(direction)) is not None)
        yield Verdict(
            session.sessionid,
            pair.medium,
            pair.kind,
            sender,
            *ruling,
            filter=look,
            announced=leg.announced,
            seen=leg.source,
            sent_to=direction.target,
            advertised=leg.sdp_endpoint,
        )


def well(direction: Direction) -> Ruling:
    """Nothing else applies."""
    leg, stream = direction.leg, direction.largest_stream
    quality = "" if stream is None else _quality(stream)
    nat = f" (announced {leg.announced})" if leg.announced and leg.announced != leg.source else ""
    go = "goes" if leg.packets == 1 else "go"
    return Ruling(
        State.OK,
        f"{received(leg)}{nat} and {go} to {direction.target}{quality}",
    )


def _quality(stream: StreamDetail) -> str:
    """What the relay measures of a stream, and what RTCP of its receiver says."""
    text = f", {stream.loss_ratio:.1%} lost"
    text += f", MOS {stream.mos:.1f}" if stream.mos is not None else ""
    text += f", jitter {stream.jitter_ms:.0f} ms" if stream.jitter_ms is not None else ""
    reported = [
        f"{stream.reported_loss:.1%} lost" if stream.reported_loss is not None else "",
        f"round trip {stream.round_trip_ms:.0f} ms" if stream.round_trip_ms is not None else "",
    ]
    said = ", ".join(filter(None, reported))
    return f"{text}; the receiver reports {said} (RTCP)" if said else text


RULES: Final[tuple[Rule, ...]] = (
    expected.not_answered,
    expected.carried,
    expected.on_hold,
    expected.sends_nothing,
    expected.hears_nothing,
    ice.sender_unchecked,
    arrival.no_keys,
    arrival.not_authentic,
    arrival.key_used_up,
    arrival.refused,
    arrival.begins,
    arrival.rtcp_alone,
    arrival.no_rtp,
    arrival.advertised_private,
    arrival.advertised_elsewhere,
    arrival.nothing_came,
    delivery.unreachable,
    delivery.not_sent,
    delivery.not_protected,
    ice.receiver_unchecked,
    delivery.no_target,
    ice.checks_stopped,
    arrival.fell_silent,
    arrival.overflowed,
    arrival.other_payload_type,
    delivery.to_private_address,
    delivery.not_received,
    arrival.lossy,
    delivery.lossy_beyond,
    well,
)
"""In the order in which they are asked; the last one always answers."""
