"""Verdicts: for each direction of a call, whether its media flow, and if not, why; made from a CallDetail.

A rule looks at one direction and says what is so, the likely cause and what to do. The first rule that
applies gives the verdict: rules about what never came stand before those about what went wrong. Pure.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from nh.calls.media import is_private
from nh.printable import show_text
from nh.results import CallDetail, LegDetail, PairDetail, SessionDetail

SILENT_S: Final = 5.0
"""A direction without a packet for so long is silent; an RTP stream has pauses that are shorter."""

LOSSY: Final = 0.03
"""Audio suffers when more of its packets are missing (loss without concealment, ITU-T G.113)."""

MANY: Final = 0.01
"""Packets that were lost inside the relay are a problem when they are more than this part."""


class State(enum.StrEnum):
    """OK; WAITING: no media are expected now (no answer, hold); PROBLEM: an end hears nothing, or badly."""

    OK = "ok"
    WAITING = "waiting"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """What a rule says of a direction.

    Attributes:
        state: see State.
        found: what is so, one line.
        cause: the likely cause; "" if all is well.
        remedy: what to do; "" if all is well.
    """

    state: State
    found: str
    cause: str = ""
    remedy: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """One direction of one medium.

    Attributes:
        session: `sessionid` of the session.
        medium, kind: which medium of the SDP, from 0, and what it is ("audio").
        sender: "from" or "to", the end whose media these are.
        state, found, cause, remedy: see Finding.
        filter: a filter for tcpdump on the relay's host that shows both directions of the medium.
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


class CallVerdict(msgspec.Struct, frozen=True):
    """What is told of a call.

    Attributes:
        call_id: the call's.
        verdicts: both directions of each medium; none while no session joins two ends.
    """

    call_id: bytes
    verdicts: tuple[Verdict, ...]

    @property
    def has_problem(self) -> bool:
        """Whether an end hears nothing, or badly."""
        return any(verdict.state is State.PROBLEM for verdict in self.verdicts)


class Direction(NamedTuple):
    """The way of media through the relay.

    Attributes:
        state: of the session (nh.results.SessionDetail).
        leg: receives from the sender.
        other: receives from the receiver; the relay sends the sender's media to where its packets come from,
            or else to what that end announced.
    """

    state: str
    leg: LegDetail
    other: LegDetail

    @property
    def target(self) -> str | None:
        """Where the sender's media go; None if the receiver has no address yet."""
        return self.other.source or self.other.announced

    def dropped(self, reason: str) -> int:
        """How many of the sender's packets were dropped for a reason of nh.calls.leg.Drop."""
        return self.leg.dropped.get(reason, 0)

    def lost_to(self, reason: str) -> bool:
        """Whether more than MANY of what came was dropped for this reason."""
        return self.dropped(reason) > MANY * (self.leg.packets + self.dropped(reason))


Rule = Callable[[Direction], Finding | None]


def judge_call(call: CallDetail) -> CallVerdict:
    """The verdicts on all media of a call; none on sessions that another has replaced, and on RTCP.

    Args:
        call: the call.
    """
    return CallVerdict(
        call.call_id,
        tuple(
            verdict
            for session in call.sessions
            if session.state != "replaced"
            for pair in session.pairs
            if pair.component == 0
            for verdict in _judge_pair(session, pair)
        ),
    )


def _judge_pair(session: SessionDetail, pair: PairDetail) -> Iterator[Verdict]:
    ports = sorted({_port(leg.local) for leg in (pair.from_, pair.to)}, key=int)
    look = f"udp and ({' or '.join(f'port {port}' for port in ports)})"
    for sender, leg, other in (("from", pair.from_, pair.to), ("to", pair.to, pair.from_)):
        finding = _find(Direction(session.state, leg, other))
        yield Verdict(session.sessionid, pair.medium, pair.kind, sender, *finding, look)


def _find(direction: Direction) -> Finding:
    return next(finding for rule in RULES if (finding := rule(direction)) is not None)


# --- the rules ------------------------------------------------------------------------------------


def _not_answered(direction: Direction) -> Finding | None:
    if direction.state != "offered":
        return None
    return Finding(State.WAITING, f"the call is not answered yet; {_received(direction.leg)}")


def _on_hold(direction: Direction) -> Finding | None:
    if direction.state != "hold" or _speaks(direction.leg):
        return None
    return Finding(State.WAITING, f"the media are on hold; {_received(direction.leg)}")


def _refused(direction: Direction) -> Finding | None:
    leg = direction.leg
    if leg.packets or not direction.dropped("source_mismatch"):
        return None
    return Finding(
        State.PROBLEM,
        f"{_packets(direction.dropped('source_mismatch'))} came to {leg.local} from other addresses and were"
        f" turned away, the latest from {leg.refused_from or 'an unknown one'};"
        f" none came from {leg.announced or 'the address of the SDP, which is not known'}",
        "the phone sends from an address that its SDP does not announce (a NAT), or strangers send here",
        "let the proxy tell where the SIP message came from (ng: received-from, SIP-source-address), or see"
        " `policy`: who may send",
    )


def _nothing_came(direction: Direction) -> Finding | None:
    leg = direction.leg
    if leg.packets:
        return None
    port = _port(leg.local)
    return Finding(
        State.PROBLEM,
        f"nothing came to {leg.local} from {leg.announced or 'this end, whose SDP has no address'}",
        "the phone sends nothing (muted, or not answered), it was told another address in the SDP, or a"
        f" firewall or NAT in between drops UDP to port {port}",
        f"see whether the SDP that this phone received names port {port} and an address of this host that it"
        " can reach",
    )


def _not_sent(direction: Direction) -> Finding | None:
    if not direction.lost_to("send_failed"):
        return None
    target = direction.target or "the other end"
    failed = _packets(direction.dropped("send_failed"))
    return Finding(
        State.PROBLEM,
        f"{failed} of {direction.leg.packets} could not be sent to {target}",
        "the kernel refused to send: ICMP unreachable (the phone has closed its port), no route, or a local"
        " firewall",
        f"on this host: ip route get {_host(target)}; see whether the phone still has the call",
    )


def _no_target(direction: Direction) -> Finding | None:
    if not direction.lost_to("no_target"):
        return None
    return Finding(
        State.PROBLEM,
        f"{_packets(direction.dropped('no_target'))} of {direction.leg.packets} were not sent on",
        "the other end does not receive now (hold, or blocked by the proxy), or it has no address: its SDP"
        " announces none, and no packet came from it",
        "see what the other end announced, and whether its SDP says sendonly or inactive",
    )


def _fell_silent(direction: Direction) -> Finding | None:
    leg = direction.leg
    if leg.idle_s is None or leg.idle_s < SILENT_S:
        return None
    found = f"packets came from {leg.source} until {leg.idle_s:.0f} s ago, and none since"
    if refused := direction.dropped("source_mismatch"):
        return Finding(
            State.PROBLEM,
            f"{found}; {_packets(refused)} of other addresses were turned away, the latest from"
            f" {leg.refused_from}",
            "a NAT gave the phone another address, and nh does not recognise its stream; or strangers send",
            "see `relatch_s` and `policy`: who may send",
        )
    return Finding(
        State.PROBLEM,
        found,
        "the phone stopped (muted with silence suppression, or lost its network), or something in between"
        " began to drop its packets",
        "see whether packets still reach this host, with the filter",
    )


def _overflowed(direction: Direction) -> Finding | None:
    if not direction.lost_to("overflow"):
        return None
    lost = _packets(direction.dropped("overflow"))
    return Finding(
        State.PROBLEM,
        f"{lost} did not fit into the receive buffer of {direction.leg.local}",
        "bursts are larger than the buffer, or the shard has too little CPU time",
        "see `nh doctor` (socket buffers) and `nh stats` (loop late)",
    )


def _to_a_private_address(direction: Direction) -> Finding | None:
    target = direction.target
    if direction.other.source is not None or target is None or not direction.leg.packets:
        return None
    if not is_private(_host(target)) or is_private(_host(direction.other.local)):
        return None
    return Finding(
        State.PROBLEM,
        f"{_packets(direction.leg.packets)} were sent to {target}, a private address that its SDP announces:"
        " nothing has come from that end, so nh knows no other",
        "the phone is behind a NAT, and media reach it only after it has sent",
        "see the verdict on the other direction: that phone has to send first",
    )


def _lossy(direction: Direction) -> Finding | None:
    stream = max(direction.leg.streams, key=lambda each: each.packets, default=None)
    if stream is None or stream.loss_ratio <= LOSSY:
        return None
    lost = f"{stream.lost} RTP packets ({stream.loss_ratio:.1%}) were lost before the relay"
    return Finding(
        State.PROBLEM,
        f"{_received(direction.leg)}; {lost}",
        "the network between this phone and the relay loses packets",
        "compare with other calls from that network (`nh calls`): it is one phone's link, or all of it",
    )


def _well(direction: Direction) -> Finding:
    leg = direction.leg
    stream = max(leg.streams, key=lambda each: each.packets, default=None)
    quality = "" if stream is None else f", {stream.loss_ratio:.1%} lost"
    if stream is not None and stream.mos is not None:
        quality += f", MOS {stream.mos:.1f}"
    nat = f" (announced {leg.announced})" if leg.announced and leg.announced != leg.source else ""
    return Finding(
        State.OK, f"{_packets(leg.packets)} came from {leg.source}{nat} and go to {direction.target}{quality}"
    )


RULES: Final[tuple[Rule, ...]] = (
    _not_answered,
    _on_hold,
    _refused,
    _nothing_came,
    _not_sent,
    _no_target,
    _fell_silent,
    _overflowed,
    _to_a_private_address,
    _lossy,
    _well,
)
"""In the order in which they are asked; the last one always answers."""


# --- words ----------------------------------------------------------------------------------------


def _speaks(leg: LegDetail) -> bool:
    return leg.idle_s is not None and leg.idle_s < SILENT_S


def _received(leg: LegDetail) -> str:
    return f"{_packets(leg.packets)} came from {leg.source}" if leg.packets else "no packet came"


def _packets(number: int) -> str:
    return "1 packet" if number == 1 else f"{number} packets"


def _port(endpoint: str) -> str:
    return show_text(endpoint.rpartition(":")[2])


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")
