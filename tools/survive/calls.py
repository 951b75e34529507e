"""What the relay says of its calls: ports, sources, sessions and counters, to be compared over a fault."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from nh.client import NativeClient
from nh.commands import ListCalls, ShowCall
from nh.results import CallDetail


class LegState(msgspec.Struct, frozen=True):
    """One leg, where it receives; `source` is None before its first packet."""

    local: str
    source: str | None
    latched: bool
    packets: int
    kernel: bool


class CallState(msgspec.Struct, frozen=True):
    """One call: its ports, sessions and legs, as far as they must not change by themselves."""

    shard: int
    ports: tuple[int, ...]
    sessions: tuple[int, ...]
    legs: tuple[LegState, ...]


def read_calls(address: str) -> dict[bytes, CallState]:
    """All calls of the relay whose RPC socket is there, by call-id. Raises NhError."""
    with NativeClient(address) as client:
        return {call_id: _state(client.request(ShowCall(call_id))) for call_id in list_calls(client)}


def list_calls(client: NativeClient) -> Iterator[bytes]:
    """The call-ids of all calls."""
    after = b""
    while True:
        page = client.request(ListCalls(after=after, limit=1000))
        yield from (call.call_id for call in page.calls)
        if not (after := page.next):
            return


def changes(
    before: Mapping[bytes, CallState],
    after: Mapping[bytes, CallState],
    *,
    staying: int,
    counters: Callable[[LegState], bool] = lambda _: True,
) -> list[str]:
    """What changed that must not, a line a call; calls that only `after` has are new and no change.

    Args:
        before, after: the calls by call-id.
        staying: how many shards there were all the time: no call of theirs may be in another one.
        counters: of which legs, as they were before, they may not go back.
    """
    lines = []
    for call_id, old in before.items():
        new = after.get(call_id)
        changed = ["it is gone"] if new is None else list(_changed(old, new, staying, counters))
        if changed:
            lines.append(f"call {call_id.decode(errors='replace')}: {', '.join(changed)}")
    return lines


def _changed(
    old: CallState, new: CallState, staying: int, counters: Callable[[LegState], bool]
) -> Iterator[str]:
    if new.shard != old.shard < staying:
        yield f"shard {old.shard} became {new.shard}"
    if new.ports != old.ports:
        yield f"ports {old.ports} became {new.ports}"
    if new.sessions != old.sessions:
        yield f"sessions {old.sessions} became {new.sessions}"
    now = _by_place(new.legs)
    for place, leg in _by_place(old.legs).items():
        if (later := now.get(place)) is None:
            yield f"no leg is at {leg.local} any more"
            continue
        if leg.source not in (None, later.source):
            yield f"the source at {leg.local} was {leg.source} and is {later.source}"
        if leg.latched and not later.latched:
            yield f"the source at {leg.local} was latched and is no more"
        if counters(leg) and later.packets < leg.packets:
            yield f"the counter at {leg.local} went back from {leg.packets} to {later.packets}"


def _by_place(legs: Iterable[LegState]) -> dict[tuple[str, int], LegState]:
    """Legs by where they receive; media of one bundle share that, and have their order there."""
    found: dict[tuple[str, int], LegState] = {}
    at: Counter[str] = Counter()
    for leg in legs:
        found[leg.local, at[leg.local]] = leg
        at[leg.local] += 1
    return found


def _state(call: CallDetail) -> CallState:
    pairs = [pair for session in call.sessions for pair in session.pairs]
    return CallState(
        shard=call.shard,
        ports=tuple(port for group in call.groups for port in group.local_ports),
        sessions=tuple(session.sessionid for session in call.sessions),
        legs=tuple(
            LegState(leg.local, leg.source, leg.latched, leg.packets, leg.kernel)
            for pair in pairs
            for leg in (pair.from_, pair.to)
        ),
    )
