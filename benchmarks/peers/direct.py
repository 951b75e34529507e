"""No relay: the phones send to each other. What the machine spends on that is no relay's doing."""

import math

from benchmarks.peers.interface import SetUp, Site
from benchmarks.streams import Phones, Stream


class Direct:
    """See Peer."""

    client = ""
    patience_s = math.inf
    max_calls = 1_000_000
    why_not_more = ""

    def start(self, site: Site) -> None:
        """Nothing to do."""

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Each phone sends to the other."""
        streams = []
        for number in numbers:
            caller, callee = phones.of_call(number)
            streams += [
                Stream(caller, callee.getsockname(), callee),
                Stream(callee, caller.getsockname(), caller),
            ]
        return SetUp(streams, 0.0)

    def pids(self) -> list[int]:
        """None."""
        return []

    def stop(self) -> None:
        """Nothing to do."""
