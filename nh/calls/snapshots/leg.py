"""Snapshots of legs."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Self

import msgspec

from nh.calls.blocking import blocks_of
from nh.calls.drop import Drop
from nh.calls.latching.claims import KNOWN, Carried, Claim
from nh.calls.latching.earlier import MAX_SENDERS, EarlierSender
from nh.calls.latching.source import Rank, SourcePolicy
from nh.calls.latching.state import MAX_TRIALS, SourceState, Trial
from nh.calls.latching.terms import leg_terms
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtp.meter import MAX_STREAMS, MeterState, RtpMeter
from nh.calls.rtp.payload_types import MAX_FORMATS, PayloadTypes
from nh.calls.rtp.stream import RtpStream
from nh.calls.rtp.stream_state import StreamState
from nh.calls.snapshots.ice import ComponentSnapshot
from nh.calls.snapshots.media import ClockHz, PayloadType
from nh.calls.snapshots.values import (
    Address,
    Count,
    Port,
    Time,
    TimeShift,
    require,
)
from nh.ip_address import MAX_ADDRESS_CHARACTERS, is_address, is_unicast

_SCOPED: Final = re.compile(r"(?P<address>[^%]*:[^%]*)%[A-Za-z0-9_.-]{1,16}\Z", re.ASCII)
"""A link-local IPv6 address with its scope (RFC 4007 11)."""

Source = tuple[Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_CHARACTERS + 17)], Port]
"""Address, with its scope if it is link-local, and port."""


Word = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class PayloadTypesSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.calls.rtp.payload_types.PayloadTypes."""

    clocks: dict[PayloadType, ClockHz]
    encodings: dict[PayloadType, str]
    allowed: Annotated[list[PayloadType], msgspec.Meta(max_length=MAX_FORMATS)] = []

    @classmethod
    def take(cls, types: PayloadTypes) -> Self:
        """The snapshot of `types`."""
        return cls(dict(types.clocks), dict(types.encodings), list(types.allowed))

    def rebuild(self) -> PayloadTypes:
        """The payload types as they were."""
        return PayloadTypes(self.clocks, self.encodings, tuple(self.allowed))


class TrialSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.calls.latching.state.Trial."""

    source: Source
    ssrc: Word | None
    sequence: Word | None
    timestamp: Word | None
    packets: Count
    began: Time
    latest: Time

    @classmethod
    def take(cls, source: Endpoint, trial: Trial) -> Self:
        """The snapshot of the trial of `source`."""
        return cls((source.address, source.port), *trial.claim, trial.packets, trial.began, trial.latest)

    def rebuild(self, times: TimeShift) -> Trial:
        """The trial as it was."""
        claim = Claim(self.ssrc, self.sequence, self.timestamp)
        return Trial(claim, self.packets, times.past(self.began), times.past(self.latest))


class EarlierSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A nh.calls.latching.earlier.EarlierSender."""

    source: Source
    ssrcs: Annotated[list[Word], msgspec.Meta(max_length=MAX_STREAMS)]
    until: Time

    @classmethod
    def take(cls, earlier: EarlierSender) -> Self:
        """The snapshot of `earlier`."""
        return cls((earlier.source.address, earlier.source.port), sorted(earlier.ssrcs), earlier.until)

    def rebuild(self, times: TimeShift) -> EarlierSender:
        """The sender as it was."""
        return EarlierSender(Endpoint(*self.source), frozenset(self.ssrcs), times.future(self.until))


class LegSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A leg.

    Attributes:
        source: None: no source yet; True: the announced endpoint.
        payload_types: None: the leg carries no RTP; True: those that the media of its groups announce. A
            superseded session's groups may have other media by now, then they are written out.
        noted_packets: as `packets`; versions before looked for packets later than `last_seen` by it.
        earlier, earlier_before: the latest of Leg.earlier, and those before it.
        kernel: packets and bytes of the leg's present kernel flow that `packets` and `bytes` include; None
            without a flow.
    """

    announced: tuple[Address, Port] | None
    receives: bool
    policy: SourcePolicy
    window_ends: Time
    source: Source | bool | None
    rank: Rank | None
    state: SourceState
    signalled_from: Address
    blocked: bool
    payload_types: PayloadTypesSnapshot | bool | None
    packets: Count
    bytes: Count
    noted_packets: Count
    last_seen: Time | None
    drops: list[Count] | None
    offloaded: Count
    kernel: tuple[Count, Count] | None
    meter: MeterState | None
    offender: Source | None = None
    heard: tuple[Annotated[int, msgspec.Meta(ge=-1)], Time] | None = None
    trials: Annotated[list[TrialSnapshot], msgspec.Meta(max_length=MAX_TRIALS)] | None = None
    earlier: EarlierSnapshot | None = None
    carried: Count | None = None
    signalled: Time = 0.0
    dtmf_blocked: bool = False
    superseded_stream: StreamState | None = None
    met_at: Address = ""
    inherited: bool = False
    unreachable: Count = 0
    unreachable_at: Time | None = None
    silenced: bool = False
    ice: ComponentSnapshot | None = None
    earlier_before: Annotated[list[EarlierSnapshot], msgspec.Meta(max_length=MAX_SENDERS - 1)] | None = None
    direct: bool = False
    left_streams: Annotated[list[tuple[Word, Count]], msgspec.Meta(max_length=MAX_STREAMS)] = []

    @classmethod
    def take(cls, leg: Leg, announced_types: PayloadTypes | None) -> Self:
        """The snapshot of `leg`.

        Args:
            leg: its counters are taken as they are; Leg.note() brings them up to date.
            announced_types: the payload types that the media of its groups announce now.
        """
        announced, source, meter, terms = leg.announced, leg.source, leg.meter, leg.terms
        if leg.offload is not None:
            leg.offload.load_meter()
        types = leg.payload_types
        taken = cls(
            None if announced is None else (announced.address, announced.port),
            terms.receives,
            terms.policy,
            leg.window_ends,
            None if source is None else source == announced or (source.address, source.port),
            leg.rank,
            leg.state,
            leg.signalled_from,
            False,
            None if types is None else types == announced_types or PayloadTypesSnapshot.take(types),
            leg.packets,
            leg.bytes,
            leg.packets,
            leg.last_seen,
            None,
            leg.offloaded,
            None if leg.offload is None else leg.offload.folded,
            None if meter is None else meter.to_state(),
            carried=terms.carried._value_,  # to read `value` takes two calls
            signalled=leg.signalled,
            ice=None if leg.ice is None else ComponentSnapshot.take(leg.ice),
        )
        return taken if leg.rare is None and not leg.blocks else taken._with_rare(leg)

    def _with_rare(self, leg: Leg) -> Self:
        """The same with what few legs have (nh.calls.rare, nh.calls.blocking)."""
        return msgspec.structs.replace(
            self,
            blocked=leg.blocked,
            dtmf_blocked=leg.dtmf_blocked,
            silenced=leg.silenced,
            drops=leg.drops,
            kernel=leg.kernel_folded if leg.offload is None else self.kernel,
            offender=None if leg.offender is None else (leg.offender.address, leg.offender.port),
            heard=None if leg.heard_packets < 0 else (leg.heard_packets, leg.heard_at),
            trials=None if not leg.trials else [TrialSnapshot.take(*each) for each in leg.trials.items()],
            earlier=EarlierSnapshot.take(leg.earlier[0]) if leg.earlier else None,
            earlier_before=[EarlierSnapshot.take(each) for each in leg.earlier[1:]] or None,
            superseded_stream=None if leg.superseded_stream is None else leg.superseded_stream.to_state(),
            met_at=leg.met_at,
            direct=leg.direct,
            inherited=leg.inherited,
            left_streams=list(leg.left_streams),
            unreachable=leg.unreachable,
            unreachable_at=leg.unreachable_at,
        )

    def check(self) -> None:
        """Check the addresses: a host name would be looked up in the DNS with each packet.

        Raises:
            SnapshotUnreadable: one is no address.
        """
        if self.announced is not None:
            require(is_unicast(self.announced[0]), f"the announced {self.announced[0]!r} is not unicast")
        if self.ice is not None:
            for place, _ in self.ice.sources:
                _require_source(place)
            require(len(self.ice.locals) <= len(self.ice.sources), "a check came from no source")
            if self.ice.selected is not None:
                _require_source(self.ice.selected)
        source = self.source
        if source is True:
            require(self.announced is not None, "the source is the announced endpoint, but none is announced")
        elif isinstance(source, tuple):
            _require_source(source)
        require(source is not False, "a source is False")

    def apply(self, leg: Leg, times: TimeShift) -> None:
        """Give a new leg of a rebuilt session the state that it had."""
        announced = self.announced
        if announced is None:
            leg.announced = None
        elif leg.announced is None or (leg.announced.address, leg.announced.port) != announced:
            leg.announced = Endpoint(*announced)
        carried = leg.terms.carried if self.carried is None else Carried(self.carried & KNOWN)
        leg.terms = leg_terms(self.policy, carried, leg.terms.relatch_s, self.receives)
        leg.source = Endpoint(*self.source) if isinstance(self.source, tuple) else None
        if self.source is True:
            leg.source = leg.announced
        leg.rank = self.rank
        leg.state = self.state
        leg.signalled_from = self.signalled_from
        if not isinstance(self.payload_types, bool):
            types = self.payload_types
            leg.payload_types = None if types is None else types.rebuild()
        leg.packets, leg.bytes = self.packets, self.bytes
        leg.last_seen = times.maybe_past(self.last_seen)
        leg.signalled = times.past(self.signalled)
        leg.offloaded = self.offloaded
        self._apply_rare(leg, times)
        if self.meter is not None:
            clocks: Mapping[int, int] = {} if leg.payload_types is None else leg.payload_types.clocks
            leg.meter = RtpMeter.from_state(self.meter, clocks, shift_s=times.shift_s)
        if self.ice is not None and leg.ice is not None:
            self.ice.apply(leg.ice, times)
            leg.follow_ice()

    def _apply_rare(self, leg: Leg, times: TimeShift) -> None:
        """The same for what few legs have; see _with_rare()."""
        leg.blocks = blocks_of(blocked=self.blocked, dtmf_blocked=self.dtmf_blocked, silenced=self.silenced)
        if self.drops is not None:
            # another release may have more reasons, or fewer
            leg.drops = (self.drops + [0] * len(Drop))[: len(Drop)]
        if self.heard is not None:
            leg.heard_packets, leg.heard_at = self.heard[0], times.past(self.heard[1])
        if self.trials is not None:
            leg.trials = {Endpoint(*each.source): each.rebuild(times) for each in self.trials}
        if self.earlier is not None:
            senders = (self.earlier, *(self.earlier_before or ()))
            leg.earlier = tuple([each.rebuild(times) for each in senders])
        if self.superseded_stream is not None:
            leg.superseded_stream = RtpStream.from_state(self.superseded_stream, shift_s=times.shift_s)
        # a new leg has none of these; to say so of each would be a twentieth of a restore
        if self.met_at:
            leg.met_at = self.met_at
        if self.inherited or self.direct:
            leg.inherited, leg.direct = self.inherited, self.direct
        if self.left_streams:
            leg.left_streams = tuple(self.left_streams)
        if self.unreachable:
            leg.unreachable, leg.unreachable_at = self.unreachable, times.maybe_past(self.unreachable_at)
        if self.offender is not None:
            leg.offender = Endpoint(*self.offender)
        if self.kernel is not None:
            leg.kernel_folded = self.kernel


def _require_source(source: Source) -> None:
    """Check the address of a source.

    Raises:
        SnapshotUnreadable: it is none.
    """
    if not is_address(source[0]):
        scoped = _SCOPED.match(source[0])
        valid = scoped is not None and is_address(scoped["address"])
        require(valid, f"the source {source[0]!r} is not an IP address")
