"""Sipwise's rtpengine, in user space: no kernel module, no table."""

import math
import shutil
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.peers.signalling import set_up_by_control
from benchmarks.streams import Phones
from nh.errors import NhError
from tools.harness.other_relays import rtpengine_command
from tools.harness.ports import free_port
from tools.harness.program import Program
from tools.rtpload.codec import get_codec
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.ng import NgControl

SOCKETS_PER_CALL: Final = 4
PORTS: Final = range(10_000, 60_001)
PACKET_MS: Final = 20.0
TIMEOUT_S: Final = 20.0
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
        self._process: Program | None = None
        self._control: NgControl | None = None

    def start(self, site: Site) -> None:
        """Run it, with nothing from /etc."""
        address = f"127.0.0.1:{free_port()}"
        options = ["--log-level=3", f"--timeout={LONGER_THAN_ANY_RUN_S}"]  # one CPU: more only cost switches
        command = rtpengine_command(address, PORTS, [site.address], *options)
        self._process = Program(command, cpus=[site.cpu])
        self._control = NgControl(address, TIMEOUT_S, get_codec("pcmu"), PACKET_MS, CommandTimes())
        self._process.wait_until(self._answers, "answering")

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Offer and answer."""
        assert self._control is not None
        return set_up_by_control(self._control, numbers, phones)

    def pids(self) -> list[int]:
        """Its one process."""
        return [self._process.pid] if self._process else []

    def stop(self) -> None:
        """End it."""
        if self._control:
            self._control.close()
        if self._process:
            self._process.close()

    def _answers(self) -> bool:
        assert self._control is not None
        try:
            self._control.check()
        except NhError:
            return False
        return True
