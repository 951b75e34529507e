"""An `nh run` that can be killed and started again in its place: the same ports, directories and settings."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil

from nh.errors import StatsUnavailable
from nh.stats import ShardState, Snapshot, read_once

POLL_S: Final = 0.005
READY_S: Final = 30.0
STOP_S: Final = 10.0
NH_S: Final = 60.0
RELAY_NICE: Final = -10
"""Its shards have it from the supervisor. A fault is measured, and not what else this host does."""


class RelayFailed(Exception):
    """The relay did not do in time what was waited for; the message says what, and the end of its log."""


class Relay:
    """One relay, over all its lives.

    Arguments:
        directory: of its own; runtime directory, state directory and log are in it.
        ports: its media ports, MIN-MAX.
        shards: how many.
        kernel: whether its media go through the kernel, on loopback, or through user space.
        settings: fields of nh.config.Settings.

    Methods that wait raise RelayFailed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ports: str,
        shards: int = 2,
        kernel: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.runtime_dir = directory / "run"
        self.state_dir = directory / "state"
        self.kernel = kernel
        self.address = str(self.runtime_dir / "nh.sock")
        self.log = directory / "log"
        self._command = [sys.executable, "-m", "nh", "run", "--runtime-dir", str(self.runtime_dir)]
        self._command += ["--shards", str(shards), "--ports", ports]
        self._command += ["--kernel", "on", "--kernel-interface", "lo"] if kernel else ["--kernel", "off"]
        # as a variable: an nh that has no store yet does not mind it
        given = {"state": self.state_dir, **(settings or {})}
        self._environment = {f"NH_{name.upper()}": str(value) for name, value in given.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._left: list[psutil.Process] = []
        self._log_begin = 0
        self.started_ns = 0

    def start(self, *arguments: str) -> None:
        """Start it and return at once; `started_ns` is when, on the monotonic clock.

        Arguments:
            arguments: more than it is always started with.
        """
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as stream:
            self.started_ns = time.monotonic_ns()
            self._process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, **self._environment},
                process_group=0,  # Ctrl-C in the terminal is for who watches
            )
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, RELAY_NICE)

    def wait_until_ready(self) -> None:
        """Return once it says that every shard is up."""
        wait_for(lambda: "ready" in self.said or self.ended, "ready", self.said_lately, READY_S)
        if self.ended:
            raise RelayFailed(f"nh run ended before it was ready. It said:\n{self.said}")

    @property
    def said(self) -> str:
        """What it said in its present life."""
        with self.log.open("rb") as stream:
            stream.seek(self._log_begin)
            return stream.read().decode(errors="replace")

    def said_lately(self) -> str:
        """The last lines of that."""
        return "\n".join(self.said.splitlines()[-20:])

    @property
    def ended(self) -> bool:
        """Whether the process that was started has ended."""
        return self._process is None or self._process.poll() is not None

    def stats(self) -> Snapshot:
        """The counters as they were last published. Raises StatsUnavailable."""
        return read_once(self.runtime_dir)

    def shard_pid(self, shard: int) -> int:
        """The process of a shard that is up; 0 if it is not."""
        return shard_pid(self.runtime_dir, shard)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all below it, and what is left of supervisors before it."""
        self._left = [process for process in self._left if _runs(process)]
        found = []
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self._process.pid)
                found = [root, *root.children(recursive=True)]
        return [*found, *(process for process in self._left if process not in found)]

    def kill_everything(self) -> None:
        """SIGKILL for every process at once; returns when all are gone."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._process.wait(STOP_S)
        wait_for(lambda: not any(map(_runs, processes)), "all processes are gone", self.said_lately)

    def kill_supervisor(self) -> None:
        """SIGKILL for the supervisor alone; returns when it is gone."""
        assert self._process is not None
        self._left = self.processes()
        self._process.kill()
        self._process.wait(STOP_S)

    def let_another_take_over(self) -> int:
        """Start a second one with --takeover; returns the pid of the first one, when that has ended."""
        first = self._process
        assert first is not None
        self._left = self.processes()
        self.start("--takeover")
        self.wait_until_ready()
        try:
            status = first.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise RelayFailed(f"the first nh does not end. They said:\n{self.said_lately()}") from None
        if status != 0:
            raise RelayFailed(f"the first nh ended with status {status}. They said:\n{self.said_lately()}")
        return first.pid

    def nh(self, *arguments: str) -> str:
        """What a subcommand of nh says. Raises RelayFailed if it fails."""
        command = [sys.executable, "-m", "nh", *arguments, "--runtime-dir", str(self.runtime_dir)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=NH_S, check=False)
        if done.returncode != 0:
            raise RelayFailed(f"nh {' '.join(arguments)}: {done.stderr}. nh run said:\n{self.said_lately()}")
        return done.stdout.strip()

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise RelayFailed(f"SIGTERM did not end it. It said:\n{self.said_lately()}") from None


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def shard_pid(runtime_dir: Path, shard: int) -> int:
    """The process of a shard that is up, by the statistics of its nh; 0 if it is not."""
    with contextlib.suppress(StatsUnavailable):
        reading = read_once(runtime_dir).shards[shard]
        if reading.state is ShardState.UP and psutil.pid_exists(reading.pid):
            return reading.pid
    return 0


def wait_for(
    holds: Callable[[], bool],
    what: str,
    said: Callable[[], str] = str,
    timeout_s: float = STOP_S,
    poll_s: float = POLL_S,
) -> None:
    """Return as soon as `holds()`; raises RelayFailed after `timeout_s`.

    Arguments:
        what: it in words.
        said: what the relay said, for the failure.
        poll_s: pause between two looks, for those that cost the relay something.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise RelayFailed(f"not within {timeout_s:g} s: {what}. nh said:\n{said()}")
        time.sleep(poll_s)


@contextlib.contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    """The relay, ready; all its processes are gone behind the context, however many lives it had."""
    try:
        relay.start()
        relay.wait_until_ready()
        yield relay
    finally:
        for process in relay.processes():  # a stopped one could not end by itself
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        if not relay.ended:
            with contextlib.suppress(RelayFailed):
                relay.terminate()
        relay.kill_everything()
