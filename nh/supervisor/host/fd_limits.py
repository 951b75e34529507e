"""The limit on descriptors, and how many calls it and the media ports allow."""

import logging
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from nh.calls.settings import RelaySettings
from nh.config import Settings
from nh.reasons import reason
from nh.rpc.protocols import most_connections

logger = logging.getLogger(__name__)

CALL_SOCKETS: Final = 4
"""Sockets, descriptors and ports of a plain audio call: RTP and RTCP towards each side."""

SHARD_OWN_DESCRIPTORS: Final = 32
"""What a shard needs besides its media sockets: standard streams, link, poll objects, statistics."""


class Capacity(msgspec.Struct, frozen=True):
    """How many plain audio calls the relay has room for.

    Attributes:
        calls: how many.
        limited_by: the resource or setting that allows no more.
    """

    calls: int
    limited_by: str


SUPERVISOR_OWN_DESCRIPTORS: Final = 512
"""What the supervisor needs besides clients and stored sockets; among them MAX_FDS that just arrive, and the
connections of the HTTP process."""

SHARD_SUPERVISOR_DESCRIPTORS: Final = 8
"""What the supervisor needs for each shard: its link, its pidfd, and those of the next process."""


def raise_descriptor_limit() -> int:
    """Raise RLIMIT_NOFILE as far as this process may; the shards inherit it.

    A privileged process gets the kernel's maximum (fs.nr_open), any other process its hard limit.

    Returns:
        The limit that is in force now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _kernel_maximum()
    if most is not None and hard != resource.RLIM_INFINITY and most > hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (ValueError, OSError):  # not privileged
            logger.debug("the hard limit on descriptors stays at %d", hard)
        else:
            return most
    wanted = most if hard == resource.RLIM_INFINITY and most is not None else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as exc:
        logger.warning("RLIMIT_NOFILE cannot be raised: %s; it stays at %d", reason(exc), soft)
        return soft
    return wanted


def capacity(ports: Sequence[tuple[int, int]], descriptors: int, relay: RelaySettings) -> Capacity:
    """How many plain audio calls the relay has room for, if call-ids are spread evenly.

    A plain audio call has RTP and RTCP towards each of its two sides: four sockets, each with a descriptor
    and a port of its own, on one address of this host. Ports count for each address on its own, so with
    several addresses there is room for more.

    Args:
        ports: (lowest, highest) of each shard.
        descriptors: how many each shard may have.
        relay: the limits of the whole relay.
    """
    by_descriptors = max(0, descriptors - SHARD_OWN_DESCRIPTORS) // CALL_SOCKETS
    rooms = [
        Capacity(sum((high + 1 - low) // CALL_SOCKETS for low, high in ports), "ports"),
        Capacity(by_descriptors * len(ports), "descriptors"),
    ]
    if relay.max_calls:
        rooms.append(Capacity(relay.max_calls, "max_calls"))
    if relay.max_sockets:
        rooms.append(Capacity(relay.max_sockets // CALL_SOCKETS, "max_sockets"))
    return min(rooms, key=lambda room: room.calls)


def holdable_sockets(descriptors: int, settings: Settings, shards: int) -> int:
    """How many media sockets of all shards together the supervisor can store.

    Clients come first: a call whose sockets are not stored is relayed all the same.

    Args:
        descriptors: how many the supervisor may have.
        settings: say how many connections clients may have.
        shards: how many shards there are.
    """
    return max(0, descriptors - own_descriptors(shards) - most_connections(settings))


def own_descriptors(shards: int) -> int:
    """What the supervisor needs besides clients and stored sockets, if there are so many shards."""
    return SUPERVISOR_OWN_DESCRIPTORS + shards * SHARD_SUPERVISOR_DESCRIPTORS


def _kernel_maximum() -> int | None:
    try:
        return int(Path("/proc/sys/fs/nr_open").read_text())
    except (OSError, ValueError):
        return None
