"""What is in a snapshot: a call as flat lists whose members name each other by their places.

Groups and sessions that are shared (forks, early dialogs) are written once, so they are one again
afterwards. Structs are written as arrays: a new field goes to the end and has a default, then older and newer
versions read each other; anything else needs another VERSION (nh.calls.snapshots.codec). Ranges that a
decoder can
check are in the types, what fits together is nh.calls.snapshots.checking's. All times are monotonic seconds.
"""

from typing import Annotated

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.leg import SourceState
from nh.calls.media import MAX_ADDRESS_CHARACTERS, MAX_MEDIA, MAX_RANGE, Side
from nh.calls.rtp.meter import MeterState
from nh.calls.rtp.payload_types import MAX_CLOCK_HZ, MAX_FORMATS
from nh.calls.source import Rank, SourcePolicy

Time = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
ClockHz = Annotated[int, msgspec.Meta(ge=1, le=MAX_CLOCK_HZ)]
PayloadType = Annotated[int, msgspec.Meta(ge=0, le=127)]
Address = Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_CHARACTERS)]
# a link-local one may have its scope with it
Source = tuple[Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS_CHARACTERS + 17)], Port]
Format = tuple[PayloadType, str, ClockHz]


class Clock(msgspec.Struct, array_like=True, frozen=True):
    """When a snapshot was taken: seconds of the monotonic clock, and of the one on the wall.

    Arguments:
        boot: tells of which boot of a host the monotonic clock is; b"": nobody knows.
    """

    monotonic: Time
    wall: Time
    boot: Annotated[bytes, msgspec.Meta(max_length=16)] = b""


class MediaSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A nh.calls.media.Media: its members."""

    address: Annotated[str, msgspec.Meta(max_length=254)]
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    range: Annotated[int, msgspec.Meta(ge=1, le=MAX_RANGE)]
    proto: str = ""
    kind: str = ""
    rtcp: tuple[Address, Port] | None = None
    signalled_from: Address = ""
    paused: bool = False
    formats: Annotated[list[Format], msgspec.Meta(max_length=MAX_FORMATS)] = []


class GroupSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A group: of each medium its first port, and whether that was told (not of an inactive one)."""

    id: bytes
    side: Side
    address: Address
    created: Time
    idle_since: Time | None
    dscp: Annotated[int, msgspec.Meta(ge=0, le=63)] | None
    media: Annotated[list[MediaSnapshot], msgspec.Meta(max_length=MAX_MEDIA)]
    bases: list[Port]
    told: list[bool]


class PayloadTypesSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What payload types mean on a leg, if that is not what the media of its groups say by now."""

    clocks: dict[PayloadType, ClockHz]
    encodings: dict[PayloadType, str]


class LegSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A leg: its members.

    Arguments:
        source: None: there is none; True: it is the announced one.
        payload_types: None: none (it is no RTP); True: what the media of its groups say.
        kernel: packets and bytes of the flow that is in the kernel now that `packets` and `bytes` have in
            them; None: there is no flow.
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


class SessionSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A session: its members, groups by their places, and which end sends RTCP on its RTP ports."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    group_from: Index
    group_to: Index
    created: Time
    last_active: Time
    replaced_at: Time | None
    on_hold: bool
    from_muxes: bool
    to_muxes: bool
    param: dict[str, str]
    legs: list[LegSnapshot]


class TransactionSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A transaction: its groups and sessions by their places."""

    id_from: bytes
    cseq: Count
    group_from: Index | None
    groups_to: list[Index]
    sessions: list[Index]
    replaced: list[Index]


class PartySnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A party: its members; `early` is the place of a dialog, `groups` and `former` have places of groups.

    Arguments:
        former: (medium, group).
        mux: a nh.calls.offer_answer.party.Mux each.
        past: (medium, component, packets, bytes, dropped).
    """

    tag: bytes
    side: Side
    created: Time
    waiting_since: Time | None
    delete_at: float
    early: Index | None
    policy: SourcePolicy | None
    label: str
    blocked: bool
    interface: Interface | None
    peer_interface: Interface | None
    groups: list[Index | None]
    former: list[tuple[Index, Index]]
    holds: dict[Index, MediaSnapshot]
    mux: list[tuple[bool, bool, bool | None]]
    past: list[tuple[Index, Index, Count, Count, Count]]


class DialogSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A dialog: its parties by their places, its sessions as (medium, place)."""

    caller: Index
    callee: Index
    branch: bytes
    signalled: Time
    delete_at: float
    sessions: list[tuple[Index, Index]]
    former: list[tuple[Index, Index]]


class BranchSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A branch that nobody answered; `offerer` is the place of a party."""

    name: bytes
    offerer: Index
    delete_at: float


class OffersSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """Offers: parties and dialogs of ng's.

    Arguments:
        parties: first the `known`, who have a tag, then those who will answer.
        dialogs: first the `agreed`, then those with whoever will answer.
    """

    last_signal: Time
    parties: list[PartySnapshot]
    known: Count
    dialogs: list[DialogSnapshot]
    agreed: Count
    branches: list[BranchSnapshot]


class CallSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A call. The order of sessions is that in which they began."""

    call_id: bytes
    clock: Clock
    created: Time
    next_expiry: float
    groups: list[GroupSnapshot]
    sessions: list[SessionSnapshot]
    transactions: list[TransactionSnapshot]
    offers: OffersSnapshot | None = None
