"""nh itself, as `nh run` starts it."""

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.peers.signalling import require_net_sip, set_up_by_control, set_up_by_perl
from benchmarks.streams import Phones
from nh.client import NativeClient
from tools.harness.ports import free_port
from tools.harness.program import running_on
from tools.harness.relay import Place, Relay
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.native import NativeControl

SOCKETS_PER_CALL: Final = 4
DESCRIPTORS_PER_CALL: Final = 8
"""With which all RTP sockets are connected: two more, and three quarters of the limit are used for those."""

PORTS: Final = range(15_000, 65_536)
TIMEOUT_S: Final = 20.0

UNEVEN: Final = 1.05
"""Calls are hashed: a shard of three gets up to so many times its share of 10,000."""


class Nh:
    """See Peer. Calls are set up through Perl's client if it is there, else through the native protocol.

    Args:
        shards: processes, all on the same CPU.
        flags: more of `nh run`'s.
        kernel: relay inside the kernel, on loopback.
        tree: a directory with another checkout of nh to be run; "": this one.

    `rpc` is the address for commands, once it runs.
    """

    patience_s = math.inf

    def __init__(
        self,
        *,
        shards: int = 1,
        flags: tuple[str, ...] = (),
        kernel: bool = False,
        tree: str = "",
    ) -> None:
        self._kernel = kernel
        self._tree = tree
        limit = descriptor_limit()
        self.max_calls = int(limit * shards // SOCKETS_PER_CALL / (UNEVEN if shards > 1 else 1))
        self.why_not_more = f"shards: {shards}, with 4 sockets a call; the descriptor limit here is {limit}"
        self._shards = shards
        self._flags = flags
        try:
            require_net_sip()
        except NotHere:
            self.client = "native (Python)"
        else:
            self.client = "Net::SIP client (Perl)"
        self._relay: Relay | None = None
        self._site: Site | None = None

    def start(self, site: Site) -> None:
        """Run it, with the patience of its peers for calls without media."""
        self._site = site
        words = ["--state", str(site.directory / "state"), "--silent-s", "86400"]
        words += [
            "--share-ports",
            *self._flags,
        ]  # several of nh's are up at once, each at an address of its own
        words += ["--kernel", "on", "--kernel-interface", "lo"] if self._kernel else ["--kernel", "off"]
        place = Place(site.directory, PORTS, free_port())
        tree = {"PYTHONPATH": self._tree} if self._tree else {}
        self._relay = Relay(place, self._shards, tree, options=["-P"], words=words, cpus=[site.cpu])
        self.rpc = self._relay.tcp_address
        self._relay.wait_until_ready()

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Two allocates and one activate."""
        assert self._site is not None
        if self.client.startswith("Net::SIP"):
            return set_up_by_perl(self.rpc, self._site.address, self._site.client_cpu, numbers, phones)
        with NativeClient(self.rpc, TIMEOUT_S) as client:
            return set_up_by_control(
                NativeControl(client, self._site.address, CommandTimes()), numbers, phones
            )

    def pids(self) -> list[int]:
        """Its supervisor; the shards are below it."""
        return [self._relay.program.pid] if self._relay else []

    def stop(self) -> None:
        """End it."""
        if self._relay:
            self._relay.program.close()


def shards_needed(calls: int) -> int:
    """How many shards the descriptor limit wants for so many calls (docs/how-to/size-a-host.md)."""
    return max(1, math.ceil(calls * DESCRIPTORS_PER_CALL * UNEVEN / descriptor_limit()))


@contextlib.contextmanager
def nh_alone(nh: Nh, address: str) -> Iterator[tuple[Site, Phones]]:
    """Run nh on the last CPU and this process on the first; yields where it runs, and phones for its calls.

    Args:
        nh: has not been started; it is stopped at the end.
        address: IPv4 address of its media sockets.
    """
    cpus = sorted(os.sched_getaffinity(0))
    with (
        contextlib.closing(Phones()) as phones,
        tempfile.TemporaryDirectory(prefix="nh-benchmark-") as directory,
        contextlib.ExitStack() as undo,
        running_on([cpus[0]]),
    ):
        undo.callback(nh.stop)
        site = Site(cpus[-1], cpus[0], address, Path(directory))
        nh.start(site)
        yield site, phones
