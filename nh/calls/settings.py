"""The rules that an operator may set for calls: who may send, how long things live, how much there may be.

Plain validated values; nh.config reads them from files, environment and flags.
"""

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.source import SourcePolicy


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are relayed; a shard gets these from its supervisor, a library user passes them to nh.Helper.

    Arguments:
        policy: who may send (nh.calls.source).
        latch_window_s: how long after activation a better source takes over (heuristic), 0 to 60.
        relatch_s: silence after which another port of the same IP may take over; 0: never.
        unused_s: life of sockets that no session ever used.
        silent_s: life of a session in which nothing arrives.
        hold_s: the same for a session on hold.
        replaced_s: how long a replaced session's ports stay open.
        coalesce_s: longest wait for more packets while they come faster than one in that time; 0: never wait.
        dscp: DiffServ code point of relayed packets, 0 to 63 (RFC 2474).
        max_calls, max_sockets, max_sockets_in_group: limits; 0: none.
    """

    policy: SourcePolicy = SourcePolicy.HEURISTIC
    latch_window_s: float = 3.0
    relatch_s: float = 0.0
    unused_s: float = 180.0
    silent_s: float = 30.0
    hold_s: float = 3600.0
    replaced_s: float = 1.0
    coalesce_s: float = 0.001
    dscp: int = 0
    max_calls: int = 0
    max_sockets: int = 0
    max_sockets_in_group: int = 0

    def __post_init__(self) -> None:
        in_range("latch_window_s", self.latch_window_s, 0, 60)
        in_range("relatch_s", self.relatch_s, 0, 86_400)
        for name in ("unused_s", "silent_s", "hold_s"):
            in_range(name, getattr(self, name), 1, 7 * 86_400)
        in_range("replaced_s", self.replaced_s, 0, 60)
        in_range("coalesce_s", self.coalesce_s, 0, 0.02)
        in_range("dscp", self.dscp, 0, 63)
        for name in ("max_calls", "max_sockets", "max_sockets_in_group"):
            in_range(name, getattr(self, name), 0, 2**31)


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ValueError naming the setting if `value` is not in low..high."""
    if not low <= value <= high:
        raise ValueError(f"{name}: {value} is not in {low}..{high}")


class RelayConfig(msgspec.Struct, frozen=True):
    """One relay: how it relays, and which ports and session ids are its own.

    Attributes:
        settings: how calls are relayed; limits are this relay's share.
        ports: lowest and highest media port, both included; the relay uses pairs from the first even port on.
        shard: number of this relay, 0 to `shards` - 1.
        shards: number of relays that share one numbering of sessions.
        interfaces: the interfaces of ng calls with this relay's ports, the default first; none: no ng calls.
        relay_ports: the media ports of all shards as (lowest, highest), those of interfaces too.
        known_session: the highest session id that other programs may know; new sessions get higher ones.
    """

    settings: RelaySettings = RelaySettings()
    ports: tuple[int, int] = (10_000, 29_999)
    shard: int = 0
    shards: int = 1
    interfaces: tuple[Interface, ...] = ()
    relay_ports: tuple[tuple[int, int], ...] = ()
    known_session: int = 0
