"""Stale flows: those that the process before left, found, adopted by the restored calls, or removed.

They forward until then. While the kernel refuses to list them, one may forward for a leg that hears nothing
of it, and no counters are known to be free: no flow begins until all are found.
"""

from collections.abc import Callable
from typing import Final

from nh.errors import KernelPathUnavailable
from nh.fastpath.flows import FlowTable

ADOPTION_S: Final = 5.0
"""How long flows that were found only while the shard serves are left for calls to adopt, in seconds."""


class StaleFlows:
    """The flows of the process before in one shard's part of the table.

    Args:
        flows: the part.
        warn: called with what the kernel refuses.
    """

    def __init__(self, flows: FlowTable, warn: Callable[[str], None]) -> None:
        self._flows = flows
        self._warn = warn
        self._found_late = False
        self._adopted_until = 0.0

    @property
    def unknown(self) -> str:
        """Why it is unknown which flows there are, for people; "": all are known."""
        why = self._flows.unknown
        return f"flows of the process before still forward, and cannot be found: {why}" if why else ""

    @property
    def may_be_unheard(self) -> bool:
        """Whether one may forward for a leg that hears nothing of it: they cannot be found, or were found
        while the shard serves, and calls have not adopted all yet."""
        return bool(self._flows.unknown) or (self._found_late and self._flows.stale > 0)

    def remove(self) -> None:
        """Remove those that no call has adopted."""
        try:
            self._flows.remove_stale_flows()
        except KernelPathUnavailable as refusal:
            self._warn(
                f"flows of the process before still forward, and nh tries again to end them: {refusal}"
            )

    def sweep(self, *, now: float) -> bool:
        """Try again what the kernel has refused (monotonic seconds).

        Returns:
            Whether the flows have been found just now: calls have to adopt them.
        """
        if not self._flows.unknown:
            if now >= self._adopted_until:
                self.remove()
                self._found_late = False
            return False
        self._flows.find_stale_flows()
        if self._flows.unknown:
            self._warn(self.unknown)
            return False
        self._found_late = True
        self._adopted_until = now + ADOPTION_S
        return True
