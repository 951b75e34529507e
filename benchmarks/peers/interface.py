"""What the benchmarks ask of a relay: run on one CPU, take calls, say which processes it is."""

import resource
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks.streams import Phones, Stream

SPARE_DESCRIPTORS: Final = 100
"""What a relay needs for itself: epoll, logs, listening sockets, its interpreter's files."""


class NotHere(Exception):
    """A peer cannot take part; the message has the reason."""


class Site(NamedTuple):
    """Where a peer runs.

    Args:
        cpu: the one that it may use.
        client_cpu: where the program runs that tells it of calls.
        address: IPv4 address of its media sockets; each peer has one of its own, and so all ports.
        directory: for its files; it is removed afterwards.
    """

    cpu: int
    client_cpu: int
    address: str
    directory: Path


class SetUp(NamedTuple):
    """Calls that were set up.

    Args:
        streams: two for each call.
        duration_s: how long it took, without what the client needs to start.
    """

    streams: list[Stream]
    duration_s: float


class Peer(Protocol):
    """A relay under test. The constructor does nothing but take settings; it raises NotHere.

    Attributes:
        client: through what it is told of calls; "" if that is not to be compared.
        max_calls: how many it can have.
        why_not_more: the reason for that.
        patience_s: how long a call may be silent before the peer ends it; infinite if that can be set.
    """

    client: str
    max_calls: int
    why_not_more: str
    patience_s: float

    def start(self, site: Site) -> None:
        """Run, idle. Raises NotHere."""

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Calls with these numbers, media flowing. Raises NhError or HarnessError if that does not work."""

    def pids(self) -> list[int]:
        """The roots of its process tree."""

    def stop(self) -> None:
        """End what was started, however far that went."""


def descriptor_limit() -> int:
    """How many sockets one process may have here."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_DESCRIPTORS
