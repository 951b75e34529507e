"""The claim to the media ports, so that two relays do not use the same ports by accident.

Media sockets are bound call by call. So a second relay with the same ports would start, and each relay would
skip the ports that the other one uses. Therefore a relay binds a Unix socket whose abstract name contains its
ports. Abstract names belong to a network namespace (unix(7)), as ports do. A name ends with the last process
that has its socket. The shards have it too, so a claim lives as long as any process that may have a port.

A relay binds its own name first, and then looks for others. So of two relays that start at the same instant
at least one sees the other; if both do, neither starts.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nh.config import Settings
from nh.errors import NotNow
from nh.ipc.peer import peer_of
from nh.loop import Loop
from nh.paths import nearest_seen, real_path
from nh.supervisor.host.port_slices import all_ranges

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"nh-ports/(?P<kind>claimed|shared)/(?P<low>[1-9]\d{3,4})-(?P<high>[1-9]\d{3,4})"
    r"/(?P<relay>[0-9a-f]{16})/(?P<unique>[0-9a-f]{16})",
    re.ASCII,
)

_BACKLOG: Final = 4096
"""So many connections may wait while there is no supervisor; beyond them the claim does not count."""


class ClaimName(NamedTuple):
    """What the name of one socket contains.

    Attributes:
        low: the lowest port.
        high: the highest port.
        shared: whether other relays may have the ports too, if their claims are shared as well.
        relay: the relay's identity; see _relay_of().
        unique: differs between the runs of one relay.
    """

    low: int
    high: int
    shared: bool
    relay: str
    unique: str

    @property
    def name(self) -> str:
        """The abstract name, without the leading zero byte."""
        kind = "shared" if self.shared else "claimed"
        return f"nh-ports/{kind}/{self.low}-{self.high}/{self.relay}/{self.unique}"

    @classmethod
    def parse(cls, name: str) -> "ClaimName | None":
        """The claim of a name; None: the name is no claim."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        low, high = int(found["low"]), int(found["high"])
        if not low <= high <= 0xFFFF:
            return None
        return cls(low, high, found["kind"] == "shared", found["relay"], found["unique"])

    def contradicts(self, other: "ClaimName") -> bool:
        """Whether two different relays claim the same port, and not both of them share it."""
        if self.relay == other.relay or (self.shared and other.shared):
            return False
        return self.low <= other.high and other.low <= self.high


class Holder(NamedTuple):
    """The process and user that made a claim, as the kernel knows them."""

    pid: int
    uid: int

    def __str__(self) -> str:
        if self.pid == 0:  # it is in another pid namespace
            return f"a process of user {self.uid}"
        if Path(f"/proc/{self.pid}").exists():
            return f"pid {self.pid}, user {self.uid}"
        return f"pid {self.pid}, user {self.uid}, which has ended; its shards relay on"


class PortClaim:
    """The claims of this relay, from construction to close().

    Args:
        settings: see Settings.

    Raises:
        NotNow: another relay has claimed some of the ports, or the name cannot be bound.
    """

    def __init__(self, settings: Settings) -> None:
        relay = _relay_of(settings.runtime_path)
        unique = secrets.token_hex(8)
        claims = [
            ClaimName(low, high, settings.share_ports, relay, unique)
            for low, high in _joined(all_ranges(settings.port_range, settings.interfaces))
        ]
        with contextlib.ExitStack() as undo:
            self._sockets = [undo.enter_context(_bound(claim)) for claim in claims]
            for other in others_claims():
                for claim in claims:
                    if claim.contradicts(other):
                        _judge(claim, other)
            undo.pop_all()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets, which every shard inherits, so that the claim lives as long as the shard."""
        return tuple(sock.fileno() for sock in self._sockets)

    def serve(self, loop: Loop) -> None:
        """Accept and close connections: other relays connect to get pid and uid of the holder."""
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), functools.partial(_accept_and_close, sock))

    def close(self) -> None:
        """Close this process's sockets; the claim ends when the shards have closed theirs."""
        for sock in self._sockets:
            sock.close()


@contextlib.contextmanager
def port_claim(settings: Settings) -> Iterator[PortClaim]:
    """The claim within the block; see PortClaim."""
    with contextlib.closing(PortClaim(settings)) as claim:
        yield claim


def others_claims() -> Iterator[ClaimName]:
    """All claims in the network namespace of this thread, each once, with this relay's own.

    Every user can bind such names, and can make the table show names that are not bound. So a claim counts
    only if its holder does (see _judge).
    """
    names: set[str] = set()
    # of the thread: in tests, threads are in namespaces of their own
    for line in Path("/proc/thread-self/net/unix").read_bytes().splitlines():
        _, found, shown = line.partition(b" @")  # an abstract name's zero byte is shown so
        if found:
            names.add(shown.decode("ascii", "replace"))
    for name in sorted(names):
        claim = ClaimName.parse(name)
        if claim is not None:
            yield claim


def _judge(own: ClaimName, other: ClaimName) -> None:
    """Raise NotNow if the other claim counts, because its holder is this user or root."""
    holder = _holder_of(other)
    if holder is None:
        return
    ports = f"{other.low}-{other.high}"
    if holder.uid not in (0, os.geteuid()):
        logger.warning(
            "ports %s are also claimed by uid %d (%s): ignored, claims of other users are not trusted",
            ports,
            holder.uid,
            holder,
        )
        return
    raise NotNow(
        f"ports: {own.low}-{own.high} overlaps with {ports} of another nh ({holder}) with another runtime"
        " directory; end that one, choose other --ports, run in another network namespace,"
        " or give --share-ports to both"
    )


def _holder_of(claim: ClaimName) -> Holder | None:
    """The holder of a claim; None if there is none, or if it cannot be determined."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"\0{claim.name}")
        except ConnectionRefusedError:  # ended, or not yet listening: then it is going to see our claim
            return None
        except OSError as exc:
            logger.warning(
                "ports: the holder of the claim to %d-%d cannot be determined: %s; the claim is ignored",
                claim.low,
                claim.high,
                exc.strerror,
            )
            return None
        return Holder(*peer_of(probe))


def _bound(claim: ClaimName) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.bind(f"\0{claim.name}")
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise NotNow(f"ports: {claim.low}-{claim.high} cannot be claimed: {exc.strerror}") from exc
    return sock


def _accept_and_close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection, _ = sock.accept()
        connection.close()


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same ports in as few ranges as possible, in order."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def _relay_of(directory: Path) -> str:
    """The identity of the relay with a runtime directory, the same for all of its runs: 16 characters.

    It depends on the file system too: containers with the host's network may each have a /run/nh of their
    own. It does not depend on the inode: a directory that was made anew belongs to the same relay.
    """
    path = real_path(directory)
    device = nearest_seen(path).stat().st_dev  # of the nearest, because a check may come before the start
    return hashlib.sha256(b"%d:%b" % (device, os.fsencode(path))).hexdigest()[:16]
