"""A shard's shares of what outlives the shards of a run: the maps of the kernel path, and the counter file.

Their descriptors are inherited. A shard that cannot use one works without it: it relays in user space, or
saves counters with snapshots.
"""

import logging

from nh.errors import KernelPathUnavailable
from nh.fastpath.flows import FlowTable, remove_flows
from nh.fastpath.netlink.routes import Routes
from nh.ipc.counter_file import map_share
from nh.ipc.link_messages import Configure
from nh.reasons import reason
from nh.shard.media.kernel.path import KernelPath
from nh.shard.media.leg_memory import LegMemory
from nh.stats import ShardStats

logger = logging.getLogger(__name__)


def open_kernel_path(configure: Configure, stats: ShardStats) -> tuple[KernelPath | None, str]:
    """The shard's path in the kernel, or why there is none; the shard then relays in user space."""
    maps = configure.kernel
    if maps is None:
        return None, configure.kernel_off
    try:
        flows = FlowTable(
            maps.flows_fd,
            maps.counters_fd,
            shard=configure.relay.shard,
            first_index=maps.first_index,
            indexes=maps.indexes,
            carry_over=(stats.kernel_packets, stats.kernel_bytes),
            successor=configure.successor,
        )
        return KernelPath(flows, Routes()), ""
    except (KernelPathUnavailable, OSError) as refusal:
        logger.warning(
            "shard %d relays in user space, not inside the kernel: %s", configure.relay.shard, reason(refusal)
        )
        _remove_stale_flows(maps.flows_fd, configure.relay.shard)
        return None, f"its shard cannot use the kernel's tables: {reason(refusal)}"


def _remove_stale_flows(flows_fd: int, shard: int) -> None:
    """Leave the packets of a shard's calls to their sockets, whatever the process before had done."""
    try:
        remove_flows(flows_fd, shard)
    except KernelPathUnavailable as refusal:
        logger.error(
            "flows of the process before still forward for shard %d, which counts none of their packets: %s",
            shard,
            refusal,
        )


def open_leg_memory(configure: Configure) -> LegMemory | None:
    """The shard's memory of counters, None without; then each refresh of a call is a snapshot."""
    if configure.counters_fd < 0:
        return None
    try:
        return LegMemory(map_share(configure.counters_fd, configure.relay.shard))
    except (OSError, ValueError) as exc:
        logger.warning(
            "shard %d saves counters with snapshots: it cannot use the counter file: %s",
            configure.relay.shard,
            exc,
        )
        return None
