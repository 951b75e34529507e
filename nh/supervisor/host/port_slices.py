"""Each shard's share of the relay: its slice of the port ranges, its part of the limits. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.settings import RelaySettings
from nh.errors import ConfigError

MIN_PORTS: Final = 4
"""Fewest ports of a shard: one plain audio call, RTP and RTCP on both sides."""


def port_slices(low: int, high: int, shards: int) -> tuple[tuple[int, int], ...]:
    """The media ports of every shard: contiguous, from an even port to an odd one, as equal as can be.

    Args:
        low, high: the whole range, both included; an odd lowest and an even highest port stay unused.
        shards: how many shards there are, 1 or more.

    Returns:
        (lowest, highest) for each shard.

    Raises:
        ConfigError: a shard would get fewer than MIN_PORTS.
    """
    first = low + low % 2
    pairs = (high + 1 - first) // 2
    each, more = divmod(pairs, shards)
    if each * 2 < MIN_PORTS:
        raise ConfigError(
            f"ports: {low}-{high} is too small for {shards} shards, each needs {MIN_PORTS} ports or more;"
            " widen `ports` or lower `shards`"
        )
    slices = []
    for shard in range(shards):
        size = 2 * (each + (shard < more))
        slices.append((first, first + size - 1))
        first += size
    return tuple(slices)


def interface_slices(interfaces: Sequence[Interface], shards: int) -> tuple[tuple[Interface, ...], ...]:
    """The interfaces of every shard: the same ones, each with this shard's slice of its own ports.

    Args:
        interfaces: those of the relay, with their whole ranges.
        shards: how many shards there are, 1 or more.

    Raises:
        ConfigError: a range is too small for all shards.
    """
    sliced = [_slices_of(interface, shards) for interface in interfaces]
    return tuple(tuple(each[shard] for each in sliced) for shard in range(shards))


def _slices_of(interface: Interface, shards: int) -> tuple[Interface, ...]:
    if interface.ports is None:
        return (interface,) * shards
    try:
        slices = port_slices(*interface.ports, shards)
    except ConfigError as exc:
        raise ConfigError(f"interface {interface.name}: {exc}") from exc
    return tuple(msgspec.structs.replace(interface, ports=ports) for ports in slices)


def all_ranges(ports: tuple[int, int], interfaces: Sequence[Interface]) -> tuple[tuple[int, int], ...]:
    """All ranges of media ports that the relay has: its own, and those of its interfaces."""
    return (ports, *(each.ports for each in interfaces if each.ports is not None))


def limits_share(relay: RelaySettings, shards: int) -> RelaySettings:
    """One shard's settings: the limits on the whole relay are split evenly, rounding up; 0 stays "no limit".

    max_sockets_in_group is a limit on one group of sockets, and max_cpu on one CPU, so they are not split.
    """
    return msgspec.structs.replace(
        relay,
        max_calls=-(-relay.max_calls // shards),
        max_sockets=-(-relay.max_sockets // shards),
        max_bandwidth=-(-relay.max_bandwidth // shards),
    )
