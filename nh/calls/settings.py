"""Settings of calls: source policy, lifetimes, limits.

Plain validated values; nh.config.sources reads them from files, environment and flags.
"""

import math
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Endpoint
from nh.ip_address import is_address

WEEK_S: Final = 7 * 86_400


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are relayed; a shard gets these from its supervisor, a library user passes them to nh.Helper.

    Attributes:
        policy: which sources a leg accepts (nh.calls.latching.source).
        latch_window_s: how long after activation a better source takes over (heuristic), 0 to 60.
        relatch_s: silence after which another stream of the same IP may take over; 0: never.
        unused_s: lifetime of sockets without a session, 1 s to 7 days.
        silent_s: how long a session without packets lives, 1 s to 7 days.
        hold_s: how long a session on hold without packets lives, 1 s to 7 days.
        replaced_s: how long a replaced session relays on, 0 to 60.
        coalesce_s: longest delay of packets that arrive faster than one in that time, so that several are
            served at once, 0 to 0.02; 0: no delay.
        dscp: DiffServ code point of relayed packets, 0 to 63 (RFC 2474).
        max_calls: most calls, 0: no limit.
        max_sockets: most media sockets, 0: no limit.
        max_sockets_in_group: most sockets for one SDP, 0: no limit.
        max_cpu: percent of its CPU's time above which a shard refuses new calls, 1 to 100; 0: no limit.
        max_bandwidth: received payload bytes a second above which new calls are refused; 0: no limit.
        dtmf_log_dest: ADDRESS:PORT where the telephone events of ng's calls go, unless their client names
            another; "": nowhere.
        dtmf_address: IP addresses beside loopback that a client may have telephone events sent to.

    Raises:
        ValueError: a value is out of range.
    """

    policy: SourcePolicy = SourcePolicy.HEURISTIC
    latch_window_s: float = 3.0
    relatch_s: float = 2.0
    unused_s: float = 180.0
    silent_s: float = 30.0
    hold_s: float = 3600.0
    replaced_s: float = 1.0
    coalesce_s: float = 0.001
    dscp: int = 0
    max_calls: int = 0
    max_sockets: int = 0
    max_sockets_in_group: int = 0
    max_cpu: int = 0
    max_bandwidth: int = 0
    dtmf_log_dest: str = ""
    dtmf_address: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        in_range("latch_window_s", self.latch_window_s, 0, 60)
        in_range("relatch_s", self.relatch_s, 0, 86_400)
        for name in ("unused_s", "silent_s", "hold_s"):
            in_range(name, getattr(self, name), 1, WEEK_S)
        in_range("replaced_s", self.replaced_s, 0, 60)
        in_range("coalesce_s", self.coalesce_s, 0, 0.02)
        in_range("dscp", self.dscp, 0, 63)
        for name in ("max_calls", "max_sockets", "max_sockets_in_group"):
            in_range(name, getattr(self, name), 0, 2**31)
        in_range("max_cpu", self.max_cpu, 0, 100)
        in_range("max_bandwidth", self.max_bandwidth, 0, 2**40)
        if self.dtmf_log_dest and Endpoint.parse(self.dtmf_log_dest) is None:
            raise ValueError(f"dtmf_log_dest: {self.dtmf_log_dest!r} is not IP:PORT, such as 127.0.0.1:2228")
        for text in self.dtmf_address:
            if not is_address(text):
                raise ValueError(f"dtmf_address: {text!r} is not an IP address")


def in_range(name: str, value: float, low: float, high: float, *, seconds: bool = False) -> None:
    """Check the range of a setting.

    Raises:
        ValueError: `value` is not in `low` to `high`; the message names the setting, and the unit if its name
            ends with one, or if these are `seconds`.
    """
    if low <= value <= high:
        return
    if abs(value) > 1e18:  # an integer of any length cannot even be shown
        raise ValueError(f"{name}: is out of range; the most is {min(high, 2**63 - 1):.15g}")
    unit = " s" if seconds or name.endswith("_s") else ""
    if high == math.inf:
        raise ValueError(f"{name}: {value:.15g}{unit} is below {low:.15g}{unit}")
    days = " (7 days)" if unit and high == WEEK_S else ""
    raise ValueError(f"{name}: {value:.15g}{unit} is not in {low:.15g} to {high:.15g}{unit}{days}")


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
