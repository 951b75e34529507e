"""Relays that are asked over ng: nh, and rtpengine where it is installed, up together on the same CPUs."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.peers.names import NH, RTPENGINE
from tools.harness.other_relays import QUIET, running_rtpengine
from tools.harness.ports import free_port
from tools.harness.relay import Place, Relay
from tools.rtpload.codec import get_codec
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.ng import NgControl

NH_PORTS: Final = range(20_000, 40_000)
RTPENGINE_PORTS: Final = range(40_000, 60_000)
LOOPBACK: Final = "127.0.0.1"
PACKET_MS: Final = 20.0
TIMEOUT_S: Final = 20.0


class NgRelay(NamedTuple):
    """A relay that is up.

    Attributes:
        ng: HOST:PORT.
        pid: of its process, or of its supervisor.
    """

    ng: str
    pid: int


@contextlib.contextmanager
def ng_relays(cpus: Sequence[int], *, shards: int = 1) -> Iterator[dict[str, NgRelay]]:
    """The relays by name, all in user space, with their media at LOOPBACK.

    Args:
        cpus: where they run.
        shards: of nh.
    """
    with contextlib.ExitStack() as up:
        relays = {NH: up.enter_context(_nh(cpus, shards))}
        if shutil.which("rtpengine"):
            relays[RTPENGINE] = up.enter_context(_rtpengine(cpus))
        yield relays


@contextlib.contextmanager
def _nh(cpus: Sequence[int], shards: int) -> Iterator[NgRelay]:
    ng = f"{LOOPBACK}:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="nh-benchmark-") as directory:
        place = Place(Path(directory), NH_PORTS, free_port())
        words = ["--ng", ng, "--address", LOOPBACK, "--kernel", "off", "--state", f"{directory}/state"]
        relay = Relay(place, shards, words=words, cpus=cpus)
        with relay.program:
            relay.wait_until_ready()
            yield NgRelay(ng, relay.program.pid)


@contextlib.contextmanager
def _rtpengine(cpus: Sequence[int]) -> Iterator[NgRelay]:
    ng = f"{LOOPBACK}:{free_port()}"
    with running_rtpengine(ng, RTPENGINE_PORTS, [LOOPBACK], QUIET, cpus=cpus) as program:
        yield NgRelay(ng, program.pid)


def ng_control(ng: str, suite: str = "") -> NgControl:
    """What offers and answers calls of plain speech.

    Args:
        ng: HOST:PORT of the relay.
        suite: of the SRTP of the callee; "": it has none.
    """
    return NgControl(ng, TIMEOUT_S, get_codec("pcmu"), PACKET_MS, CommandTimes(), srtp=suite)
