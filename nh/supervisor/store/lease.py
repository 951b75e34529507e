"""Whether the stored calls are still this relay's, as far as it can know. No I/O, no clock.

A store on a server gives the calls to one relay at a time: for the time of the lease, which each write
renews. Another relay gets them when the lease is over by the server's clock. The lease here is over no later:
it is counted from the moment at which the request for it was sent, and only the rates of both clocks matter.
Times are seconds of CLOCK_BOOTTIME (nh.ipc.shared_deadline), which goes on while the host is suspended.
"""

from collections.abc import Callable, Mapping
from typing import Final

RENEW_S: Final = 1.0
"""How often a lease is renewed if there is nothing to write; a short lease is renewed more often."""

EARLY_S: Final = 0.3
"""A lease that runs out is lost so long before its end, in which the shards end."""


class Lease:
    """A lease that may be renewed, may run out, and may be lost to another relay.

    Args:
        length_s: of the lease after each renewal, seconds.

    Attributes:
        is_kept: whether the end of this process does not end the lease, because the next one goes on with it.
        give_to: the standby that may have the calls from now on, and at the end of this process; "": none.
        given_to: what the server knows of that, or may know: its answer can be lost.
        wanted_by: the standby that asks for the calls; "": none does.
        standbys: those that follow the calls, and how many calls each has, as the server said last. All
            names are as relays name themselves; nh.printable shows them.
        ends_at: when the lease ends unless it is renewed before; 0.0: it has not begun.
        on_renewed: called with `ends_at` by the thread that renews it.
    """

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._lost_to = ""
        self.ends_at = 0.0
        self.on_renewed: Callable[[float], None] = _ignore
        self.is_kept = False
        self.give_to = ""
        self.given_to = ""
        self.wanted_by = ""
        self.standbys: Mapping[str, int] = {}

    @property
    def length_s(self) -> float:
        """Its length after each renewal, seconds."""
        return self._length_s

    @property
    def lost_to(self) -> str:
        """The relay that has the calls now; "": none that is known."""
        return self._lost_to

    @property
    def renewal_s(self) -> float:
        """How often it is renewed if there is nothing to write, seconds."""
        return min(RENEW_S, self._length_s / 4)

    def told(self, wanted_by: str, standbys: Mapping[str, int]) -> None:
        """The server has said who wants the calls, and who follows them."""
        self.wanted_by = wanted_by
        self.standbys = standbys

    def renewed(self, *, sent_at: float) -> None:
        """The server has renewed the lease.

        Args:
            sent_at: when the request was sent.
        """
        self.ends_at = sent_at + self._length_s
        self.on_renewed(self.ends_at)

    def lost(self, holder: str) -> None:
        """The server says that another relay has the calls. That is final.

        Args:
            holder: that relay.
        """
        self._lost_to = holder or "unknown"

    def why_lost(self, now: float, *, may_run_out: bool) -> str:
        """Why this relay must not serve the calls any more, a sentence; "" if it may.

        Args:
            now: the time.
            may_run_out: whether a lease that ran out is lost. Otherwise it is lost only to another relay, so
                that calls outlive a server that is away.
        """
        if self._lost_to:
            return f"the relay {self._lost_to} has the calls now"
        if may_run_out and self.ends_at and now >= self.ends_at - EARLY_S:
            return f"the lease of {self._length_s:g} s ran out, so another relay may have the calls"
        return ""


def _ignore(_ends_at: float) -> None:
    pass
