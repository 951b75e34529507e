"""The flows of the run before in maps of another form, for the processes that go on with its calls.

The number of shards is part of the form. A run with another one has maps of its own, and each flow moves
there: it begins in the new maps, ends in the old ones, and what these have counted until then is read.
"""

import os
import sys
from typing import Final

from nh.calls.media import Endpoint
from nh.fastpath import bpf, layout

_INDEX_BYTES: Final = 4


class MovingFlows:
    """The old maps. Close it.

    Args:
        flows_fd, counters_fd: descriptors of the maps, which belong to this object.
    """

    def __init__(self, flows_fd: int, counters_fd: int) -> None:
        self._flows_fd = flows_fd
        self._counters_fd = counters_fd

    def take(self, local: Endpoint) -> layout.FlowCounters | None:
        """End the flow at `local`; returns what it has counted, None: there is none.

        Raises:
            KernelPathUnavailable: the kernel refuses.
        """
        key = layout.pack_key(local)
        flow = bpf.lookup(self._flows_fd, key, layout.FLOW.size)
        if flow is None:
            return None
        bpf.delete(self._flows_fd, key)
        index = layout.owner_of(flow).counter_index.to_bytes(_INDEX_BYTES, sys.byteorder)
        counters = bpf.lookup(self._counters_fd, index, layout.COUNTERS_BYTES)
        return None if counters is None else layout.unpack_counters(counters)

    def close(self) -> None:
        """Close the maps; call once."""
        os.close(self._flows_fd)
        os.close(self._counters_fd)
