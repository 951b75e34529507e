"""The timeline of a call: who began it, what happened when, what its ended sessions amounted to, and its end.

It is part of the call's snapshot, so it goes on in the next process. Everything in it is bounded. All times
are of the wall clock, because they are for people. Plain values; nh.shard.observers.timeline writes them.
"""

import functools
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from nh.calls.call_event import NO_CLIENT, CallEnd, CallEvent, Client, EventKind, Port, Tag, Text, Wall
from nh.calls.rare import Rare

MAX_EVENTS: Final = 64
"""Most events of a timeline; of more, the first FIRST_EVENTS and the latest ones stay."""

FIRST_EVENTS: Final = 16

MAX_ENDED: Final = 32
"""Most sessions that have ended of which the timeline has descriptions."""

MAX_ENDED_BYTES: Final = 32 * 1024
"""Most bytes of these descriptions."""

MAX_KEPT: Final = 4
"""Most of them while the call goes on: they are in each of its snapshots."""

MAX_KEPT_BYTES: Final = 8 * 1024
"""Most bytes of these."""

_CODES: Final = (
    EventKind.BEGUN.value,
    EventKind.SOURCE.value,
    EventKind.LATCHED.value,
    "allocate",
    "activate",
    "offer",
    "answer",
    EventKind.KERNEL.value,
    EventKind.USER_SPACE.value,
    EventKind.SESSION_ENDED.value,
)
"""What happens in nearly all calls. A packed event has the index in the place of the text, so none moves. One
more needs a new version of snapshots, too: an nh that lacks it refuses the whole snapshot."""

_CODE_OF: Final = {text: code for code, text in enumerate(_CODES)}


class _PackedEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A CallEvent without the defaults at its end.

    Attributes:
        at: whole milliseconds since the timeline's begin, or the wall-clock seconds of any other time.
        event: index in _CODES, or the text.
        tag, port, detail: see CallEvent.
    """

    at: Annotated[int, msgspec.Meta(ge=-(2**61), le=2**61)] | Wall
    event: Annotated[int, msgspec.Meta(ge=0, lt=len(_CODES))] | Text
    tag: Tag = b""
    port: Port = 0
    detail: Text = ""


_LENGTH: Final = struct.Struct("!BH")
"""How an array begins in MessagePack that may have more than 15 items."""

_ARRAY16: Final = 0xDC
NO_EVENTS: Final = _LENGTH.pack(_ARRAY16, 0)
"""The packed events of a timeline that has none."""

_encode: Final = msgspec.msgpack.Encoder().encode
_BEGUN: Final = _encode((0, _CODE_OF[EventKind.BEGUN], b"", 0, "?"))[: -len("??")]
"""How a first event begins that says where the client of the call is; the address follows."""

_ADDRESS: Final = _LENGTH.size + len(_BEGUN)
_events_decoder: Final[msgspec.msgpack.Decoder[list[_PackedEvent]]] = msgspec.msgpack.Decoder(
    Annotated[list[_PackedEvent], msgspec.Meta(max_length=MAX_EVENTS)]
)


@functools.lru_cache(maxsize=64)
def _without_address(protocol: str, command: str) -> Client:
    """A client without its address: thousands of calls share the few that there are."""
    return Client(protocol, "", command)


class CallTimeline(msgspec.Struct, gc=False):
    """The timeline of one call.

    Of most calls that go on, nothing has ended and none is on hold: what says so is in no slot.

    Attributes:
        begin: wall-clock seconds of the first command.
        packed_events: `events` as a snapshot has them: a quarter of what the objects would take, and a
            snapshot takes them as they are.
        events_left_out: how many more there were, behind the first FIRST_EVENTS.
        packets, size: packets and bytes received in the sessions that have ended.
        ended: descriptions of the latest of them, as nh.shard.observers.recorder encodes them.
        ended_left_out: of how many more there is no description.
        on_hold: whether the call was on hold after the last command.
        closer: who sent the last command that ends the call or a part of it, now or later; None: no such
            command came, or an offer or answer came after it.
        latest_end: why the latest session ended, or that sockets were never used; None: neither yet.
        end: why the call has ended; None: it goes on.
        created: of a call that has ended: monotonic seconds of its begin, since the wall clock may have been
            set meanwhile; None: it goes on, or could not be restored.
    """

    begin: float = 0.0
    packed_events: bytes = NO_EVENTS
    _client: Client = NO_CLIENT
    rare: dict[str, Any] | None = None

    events_left_out = Rare(0)
    packets = Rare(0)
    size = Rare(0)
    ended = Rare[tuple[bytes, ...]](())
    ended_left_out = Rare(0)
    on_hold = Rare(False)
    closer = Rare[Client | None](None)
    latest_end = Rare[CallEnd | None](None)
    end = Rare[CallEnd | None](None)
    created = Rare[float | None](None)

    def open(self, client: Client, begin: float) -> None:
        """Begin with the first event, which has the client's address."""
        self.begin = begin
        self.add(CallEvent(begin, EventKind.BEGUN, detail=client.address))
        self._client = _without_address(client.protocol, client.command)

    def lasted_s(self, *, now: float, wall: float) -> float:
        """How many seconds the call that has ended was there, at least 0.

        Args:
            now: monotonic seconds.
            wall: wall-clock seconds, which tell it where `created` is not known.
        """
        return max(0.0, wall - self.begin if self.created is None else now - self.created)

    @property
    def client(self) -> Client:
        """Who sent the first command. Its address is in the first event, and not kept twice."""
        client = self._client
        if client.address:
            return client
        return Client(client.protocol, self._first_address, client.command)

    @client.setter
    def client(self, client: Client) -> None:
        is_known = client.address == self._first_address
        self._client = _without_address(client.protocol, client.command) if is_known else client

    @property
    def _first_address(self) -> str:
        """The address of the client that began the call, by its first event; "" if that is not known."""
        packed = self.packed_events
        if packed.startswith(_BEGUN, _LENGTH.size):  # each snapshot asks for it: nothing is decoded
            first = packed[_ADDRESS]
            if first & 0xE0 == 0xA0:  # MessagePack's fixstr
                return packed[_ADDRESS + 1 : _ADDRESS + 1 + (first & 0x1F)].decode()
            if first == 0xD9:  # its str 8
                return packed[_ADDRESS + 2 : _ADDRESS + 2 + packed[_ADDRESS + 1]].decode()
        events = _events_decoder.decode(packed)
        return events[0].detail if events and events[0].event == _CODE_OF[EventKind.BEGUN] else ""

    @property
    def events(self) -> list[CallEvent]:
        """The events in their order."""
        return unpack_events(self.packed_events, self.begin)

    def find_latest(self, port: int, detail: str) -> CallEvent | None:
        """The latest event of a port with that detail."""
        for each in reversed(_events_decoder.decode(self.packed_events)):
            if each.port == port and each.detail == detail:
                return _unpack(each, round(self.begin * 1000))
        return None

    def add(self, event: CallEvent) -> None:
        """Add an event."""
        packed = self.packed_events
        _, length = _LENGTH.unpack_from(packed)
        if length < MAX_EVENTS:
            before = packed[_LENGTH.size :]
            self.packed_events = _LENGTH.pack(_ARRAY16, length + 1) + before + self._pack(event)
        else:
            first, latest = self.events[:FIRST_EVENTS], self.events[FIRST_EVENTS + 1 :]
            self.set_events([*first, *latest, event])
            self.events_left_out += 1

    def replace_latest(self, before: CallEvent, event: CallEvent) -> None:
        """Add an event in the place of `before`, if that is the latest one."""
        events = self.events
        if events and events[-1] == before:
            self.set_events(events[:-1])
        self.add(event)

    def add_ended(self, description: bytes) -> None:
        """Add the description of a session that has ended."""
        self.ended += (description,)
        self._leave_out(MAX_ENDED, MAX_ENDED_BYTES)

    def trim(self) -> None:
        """Leave out what is too much for a call that goes on."""
        self._leave_out(MAX_KEPT, MAX_KEPT_BYTES)

    def set_events(self, events: Sequence[CallEvent]) -> None:
        """Have these events, at most MAX_EVENTS."""
        self.packed_events = _LENGTH.pack(_ARRAY16, len(events)) + b"".join(map(self._pack, events))

    def take_packed(self, packed: bytes) -> bool:
        """Have events that are packed as a timeline of the same begin has them, and that can be unpacked.

        Returns:
            Whether it has them; False: their array has another form, to which nothing can be added.
        """
        if packed[0] != _ARRAY16:
            return False
        self.packed_events = packed
        return True

    def _pack(self, event: CallEvent) -> bytes:
        milliseconds = round(event.at * 1000)
        at: int | float = milliseconds - round(self.begin * 1000)
        if milliseconds / 1000 != event.at:
            at = event.at
        code, tag, port, detail = _CODE_OF.get(event.event, event.event), event.tag, event.port, event.detail
        if detail:
            return _encode((at, code, tag, port, detail))
        if port:
            return _encode((at, code, tag, port))
        return _encode((at, code, tag) if tag else (at, code))

    def _leave_out(self, most: int, most_bytes: int) -> None:
        while len(self.ended) > most or sum(map(len, self.ended)) > most_bytes:
            self.ended = self.ended[1:]
            self.ended_left_out += 1


def unpack_events(packed: bytes | msgspec.Raw, begin: float) -> list[CallEvent]:
    """The packed events of a timeline that began at `begin`.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: these are none.
    """
    milliseconds = round(begin * 1000)
    return [_unpack(each, milliseconds) for each in _events_decoder.decode(packed)]


def _unpack(packed: _PackedEvent, begin: int) -> CallEvent:
    """An event of a timeline that began at `begin`, in milliseconds."""
    at, event = packed.at, packed.event
    return CallEvent(
        (begin + at) / 1000 if type(at) is int else at,
        _CODES[event] if isinstance(event, int) else event,
        packed.tag,
        packed.port,
        packed.detail,
    )
