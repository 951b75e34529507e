"""Sipwise's rtpengine, in user space: no kernel module, no table."""

import contextlib
import math
import shutil
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.peers.ng_relays import ng_control
from benchmarks.peers.signalling import set_up_by_control
from benchmarks.streams import Phones
from tools.harness.other_relays import QUIET, running_rtpengine
from tools.harness.ports import free_port
from tools.harness.program import Program
from tools.rtpload.controls.ng import NgControl

SOCKETS_PER_CALL: Final = 4
PORTS: Final = range(10_000, 60_001)
LONGER_THAN_ANY_RUN_S: Final = 86_400


class RtpEngine:
    """See Peer."""

    client = "ng (Python)"
    patience_s = math.inf

    def __init__(self) -> None:
        self.max_calls = descriptor_limit() // SOCKETS_PER_CALL
        self.why_not_more = (
            f"it is one process with 4 sockets a call, and the descriptor limit here is {descriptor_limit()}"
        )
        if shutil.which("rtpengine") is None:
            raise NotHere("rtpengine is not installed (Debian: rtpengine-daemon)")
        self._exit = contextlib.ExitStack()
        self._process: Program | None = None
        self._control: NgControl | None = None

    def start(self, site: Site) -> None:
        """Run it, with nothing from /etc. It has one CPU, so more threads would only cost switches."""
        address = f"127.0.0.1:{free_port()}"
        options = [QUIET, f"--timeout={LONGER_THAN_ANY_RUN_S}"]
        self._process = self._exit.enter_context(
            running_rtpengine(address, PORTS, [site.address], *options, cpus=[site.cpu])
        )
        self._control = self._exit.enter_context(contextlib.closing(ng_control(address)))

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Offer and answer."""
        assert self._control is not None
        return set_up_by_control(self._control, numbers, phones)

    def pids(self) -> list[int]:
        """Its one process."""
        return [self._process.pid] if self._process else []

    def stop(self) -> None:
        """End it."""
        self._exit.close()
