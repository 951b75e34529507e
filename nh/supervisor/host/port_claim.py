"""The claim to the media ports: two relays never have the same ones by accident.

Media sockets are bound call by call, so a second relay with the same ports would start, and each would pass
over what the other one has. Therefore a relay binds a Unix socket with an abstract name that tells its ports.
Such names are those of a network namespace (unix(7)), as ports are; they go with the last process that has
the socket, and the shards have it too: a claim lives as long as any process that may have a port.

One's own name is bound first and others' are looked for then. So of two relays that start at the same
instant, at least one sees the other; both may, and neither starts.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nh.config import Settings
from nh.errors import ConfigError
from nh.ipc.peer import peer_of
from nh.loop import Loop
from nh.supervisor.host.port_slices import all_ranges

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"nh-ports/(?P<kind>claimed|shared)/(?P<low>[1-9]\d{3,4})-(?P<high>[1-9]\d{3,4})"
    r"/(?P<relay>[0-9a-f]{16})/(?P<unique>[0-9a-f]{16})",
    re.ASCII,
)

_BACKLOG: Final = 4096
"""How often others may ask who has the claim while the supervisor is away; then it counts no more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the name of one socket tells.

    Arguments:
        low, high: the ports, both included.
        shared: whether others may have them too, if they say the same.
        relay: which relay it is; see _relay_of.
        unique: tells apart the claims of one relay's runs.
    """

    low: int
    high: int
    shared: bool
    relay: str
    unique: str

    @property
    def name(self) -> str:
        """The abstract name, without the zero byte that begins it."""
        kind = "shared" if self.shared else "claimed"
        return f"nh-ports/{kind}/{self.low}-{self.high}/{self.relay}/{self.unique}"

    @classmethod
    def parse(cls, name: str) -> "Claim | None":
        """The claim of that name; None: it is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        low, high = int(found["low"]), int(found["high"])
        if not low <= high <= 0xFFFF:
            return None
        return cls(low, high, found["kind"] == "shared", found["relay"], found["unique"])

    def contradicts(self, other: "Claim") -> bool:
        """Whether two relays cannot both have what they claim; one relay's runs follow each other."""
        if self.relay == other.relay or (self.shared and other.shared):
            return False
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class Holder:
    """Who made a claim: its process and user, as the kernel knows them."""

    pid: int
    uid: int

    def __str__(self) -> str:
        if self.pid == 0:  # it is in another pid namespace
            return f"a process of user {self.uid}"
        if Path(f"/proc/{self.pid}").exists():
            return f"pid {self.pid}, user {self.uid}"
        return f"pid {self.pid}, user {self.uid}, which has ended; its shards go on"


class PortClaim:
    """The claims of this relay, from construction to close().

    Arguments:
        settings: see Settings; its runtime directory is there.

    Raises ConfigError if another relay has claimed any of the ports, or no name can be bound.
    """

    def __init__(self, settings: Settings) -> None:
        relay = _relay_of(settings.runtime_path)
        unique = secrets.token_hex(8)
        claims = [
            Claim(low, high, settings.share_ports, relay, unique)
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
        """What every shard has to inherit, so that the claim lives as long as it."""
        return tuple(sock.fileno() for sock in self._sockets)

    def serve(self, loop: Loop) -> None:
        """Let those go who asked who has the claim: the kernel told them, but keeps their connections."""
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), functools.partial(_dismiss, sock))

    def close(self) -> None:
        """Give the ports up, as far as this process is concerned."""
        for sock in self._sockets:
            sock.close()


@contextlib.contextmanager
def port_claim(settings: Settings) -> Iterator[PortClaim]:
    """The claim within the block; see PortClaim."""
    with contextlib.closing(PortClaim(settings)) as claim:
        yield claim


def others_claims() -> Iterator[Claim]:
    """All claims in the network namespace of this thread, each once; one's own are among them.

    Anybody can bind such names, and can even make the table show names that nobody bound: what a claim
    is worth is for its holder to tell.
    """
    names: set[str] = set()
    # of the thread, for in tests threads are in namespaces of their own
    for line in Path("/proc/thread-self/net/unix").read_bytes().splitlines():
        _, found, shown = line.partition(b" @")  # an abstract name's zero byte is shown so
        if found:
            names.add(shown.decode("ascii", "replace"))
    for name in sorted(names):
        claim = Claim.parse(name)
        if claim is not None:
            yield claim


def _judge(own: Claim, other: Claim) -> None:
    """Refuse to start if the other claim counts: if it is this user's or root's, who could end nh anyway."""
    holder = _holder_of(other)
    if holder is None:
        return
    ports = f"{other.low}-{other.high}"
    if holder.uid not in (0, os.geteuid()):
        logger.warning(
            "ports: user %d (%s) claims %s too; that is another user's word, and is not heeded",
            holder.uid,
            holder,
            ports,
        )
        return
    raise ConfigError(
        f"ports: {own.low}-{own.high} overlaps with {ports} of another nh ({holder}) with another runtime"
        " directory; end that one, choose other --ports, run in another network namespace,"
        " or say --share-ports to both"
    )


def _holder_of(claim: Claim) -> Holder | None:
    """Who holds it; None if nobody does, or it cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"\0{claim.name}")
        except ConnectionRefusedError:  # gone, or bound and not yet listening: then it will see this one's
            return None
        except OSError as exc:
            logger.warning("ports: who claims %d-%d cannot be told: %s", claim.low, claim.high, exc.strerror)
            return None
        return Holder(*peer_of(probe))


def _bound(claim: Claim) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.bind(f"\0{claim.name}")
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"ports: {claim.low}-{claim.high} cannot be claimed: {exc.strerror}") from exc
    return sock


def _dismiss(sock: socket.socket) -> None:
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
    """Which relay has a runtime directory, the same for all of its runs, in 16 characters.

    The file system counts too: containers with the host's network may each have a /run/nh of their own.
    The directory's inode does not: one that was made anew is still that of the same relay.
    """
    path = directory.resolve()
    return hashlib.sha256(b"%d:%b" % (path.stat().st_dev, os.fsencode(path))).hexdigest()[:16]
