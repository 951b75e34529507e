"""Whether the code that is installed now could go on in place of this: asked before anything is given up.

It is run as `nh run --check` with this process's own arguments: it reads the settings, starts a shard's
process, says in JSON what it is, and ends.
"""

import logging
import os
import select
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from nh.calls.snapshots.version import READABLE
from nh.config import Settings
from nh.errors import Unavailable
from nh.ipc.link_messages import Shutdown, encode
from nh.loop import Loop, Timer
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.host.port_slices import interface_slices, port_slices
from nh.supervisor.shards.process import ShardProcess
from nh.version import __version__

logger = logging.getLogger(__name__)

CHECK_S: Final = 20.0
"""How long it may take."""


class CheckedIn(msgspec.Struct, frozen=True):
    """What `nh run --check` says.

    Arguments:
        version: of the nh that says it.
        reads: the versions of snapshots that it reads.
    """

    version: str
    reads: tuple[int, ...]


def check_in(settings: Settings) -> str:
    """What `nh run --check` says, in JSON.

    Raises ConfigError for settings that cannot be used, Unavailable if a shard's process does not start.
    """
    shards = settings.shards or len(usable_cpus())
    port_slices(*settings.port_range, shards)
    interface_slices(settings.interfaces, shards)
    _try_shard()
    return msgspec.json.encode(CheckedIn(__version__, READABLE)).decode()


def _try_shard() -> None:
    """A shard's process comes as far as its link, and ends when it is told to."""
    process = ShardProcess.start()
    with process.link:
        process.link.send(encode(Shutdown()))
        select.select([process.pidfd], [], [], CHECK_S / 2)
        process.kill()  # if it has not ended
        how = process.reap()
    if how != "exit status 0":
        raise Unavailable(f"a shard's process does not start: {how}; what it says above may tell why")


class Preflight:
    """One check, from construction on.

    Arguments:
        loop: waits for it.
        argv: the command line that is about to be run; `--check` is added.
        on_result: called once with what it said, or why it cannot be run.

    Raises OSError if it cannot be started.
    """

    def __init__(self, loop: Loop, argv: Sequence[str], on_result: Callable[[CheckedIn | str], None]) -> None:
        self._loop = loop
        self._on_result = on_result
        self._process = subprocess.Popen(
            [*argv, "--check"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._on_end)
        self._timer: Timer = loop.call_later(CHECK_S, self._process.kill)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._timer.cancel()
        os.close(self._pidfd)
        said, errors = self._process.communicate()
        if self._process.returncode != 0:
            why = errors.decode(errors="replace").strip().splitlines()
            for line in why[:-1]:
                logger.error("the code that is installed says: %s", line)
            self._on_result(
                why[-1].removeprefix("nh: ") if why else f"it ended with status {self._process.returncode}"
            )
            return
        try:
            self._on_result(msgspec.json.decode(said, type=CheckedIn))
        except msgspec.DecodeError as exc:
            self._on_result(f"it does not say what it is: {exc}")
