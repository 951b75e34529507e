"""Successive runs of `nh run` in one place: killed, replaced, taken over; and what they leave behind."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from nh.ipc.peer import peer_of
from nh.results import CallDetail, LegDetail
from nh.stats import read_once
from nh.stats.reading import StatsReading
from nh.supervisor.shards.routing import shard_of
from tools.harness import HarnessError
from tools.harness.call import RelayedCall
from tools.harness.relay import (
    PORTS,
    Place,
    Relay,
    as_environment,
    kill_those_that_run,
    place_for_relay,
)
from tools.harness.waiting import eventually

SHARDS: Final = 2
ENDED_S: Final = 30.0
COMMAND_S: Final = 60.0


class Deployment:
    """Runs of nh that share a runtime directory, media ports and settings. `close` ends all their processes.

    Methods that wait raise HarnessError.

    Args:
        place: runtime directory and ports of every run.
        settings: fields of nh.config.Settings for every run.
        shards: number of shards of a run, if `launch` is not told another.
        nice: the priority of its processes, where this process may raise it.
        options: options of the Python interpreter, such as -P.
        environment: further environment variables.

    Attributes:
        place, settings: see above.
        address: the Unix socket at which its runs serve RPC.
    """

    def __init__(
        self,
        place: Place,
        settings: Mapping[str, object],
        *,
        shards: int = SHARDS,
        nice: int = 0,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.place = place
        self.address = str(place.directory / "nh.sock")
        self.settings = dict(settings)
        self._shards, self._nice = shards, nice
        self._options = options
        self._environment = as_environment(settings) | dict(environment or {})
        self._relays: list[Relay] = []
        self._calls: list[RelayedCall] = []
        self._left: list[psutil.Process] = []

    @property
    def relay(self) -> Relay:
        """The run that was started last."""
        return self._relays[-1]

    @property
    def kernel(self) -> bool:
        """Whether its media go through the kernel."""
        return self.settings.get("kernel") == "on"

    def launch(self, *words: str, shards: int | None = None, **settings: object) -> Relay:
        """Start `nh run` and return at once.

        Args:
            words: further arguments of `nh run`.
            shards: number of shards; None: as many as the deployment's.
            settings: fields of nh.config.Settings for this run only.
        """
        environment = self._environment | as_environment(settings)
        number = self._shards if shards is None else shards
        relay = Relay(self.place, number, environment, options=self._options, words=words)
        self._relays.append(relay)
        if self._nice:
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, relay.program.pid, self._nice)
        return relay

    def start(self, *words: str, shards: int | None = None, **settings: object) -> Relay:
        """Start `nh run` and return when it is ready. See `launch`."""
        relay = self.launch(*words, shards=shards, **settings)
        relay.wait_until_ready()
        return relay

    def make_call(self, call_id: bytes) -> RelayedCall:
        """Set up a call and pass media both ways. Its phones stay open until `close`."""
        call = RelayedCall(self.address, call_id)
        self._calls.append(call)
        call.talk()
        return call

    def make_calls(self, number: int, shards: int = SHARDS) -> list[RelayedCall]:
        """Make `number` calls, spread evenly over the shards. See `make_call`."""
        rounds = zip(*(calls_of(shard, shards) for shard in range(shards)), strict=True)
        names = itertools.islice(itertools.chain.from_iterable(rounds), number)
        return [self.make_call(name) for name in names]

    def nh(self, command: str, *words: str) -> str:
        """What a subcommand of nh prints, as a process of its own. Raises HarnessError if it fails."""
        arguments = [sys.executable, "-m", "nh", command, *words, "--runtime-dir", str(self.place.directory)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            raise HarnessError(f"nh {command} failed: {done.stderr}\nOutput of nh run:\n{self.last_output()}")
        return done.stdout.strip()

    def stats(self) -> StatsReading:
        """The counters as they were last published. Raises StatsUnavailable."""
        return read_once(self.place.directory)

    def last_output(self) -> str:
        """The last lines of the output of the run that was started last; "": there was none."""
        return self.relay.program.last_output() if self._relays else ""

    def processes(self) -> list[psutil.Process]:
        """The supervisor, all processes below it, and those that earlier supervisors left."""
        self._left = [process for process in self._left if not has_ended(process)]
        found: list[psutil.Process] = []
        if self._relays:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.relay.program.pid)
                found = [root, *root.children(recursive=True)]
        return [*found, *(process for process in self._left if process not in found)]

    def kill_supervisor(self) -> list[psutil.Process]:
        """Send SIGKILL to the supervisor alone. Returns its shard processes, by shard number."""
        shards = [psutil.Process(shard.pid) for shard in self.relay.stats().shards]
        self._left = self.processes()
        self.relay.program.kill()
        return shards

    def kill_supervisor_as_calls_expire(self) -> list[psutil.Process]:
        """Kill the supervisor alone; its shards learn only behind its end that a call may be silent for 1 s.

        They are stopped meanwhile, so no call expires before, however long all this takes. The deployment is
        one of relay_of_calls_that_expire().

        Returns:
            Its shard processes, stopped, by shard number: the caller resumes them.
        """
        stopped = [psutil.Process(shard.pid) for shard in self.relay.stats().shards]
        for shard in stopped:
            shard.suspend()
        eventually(lambda: all(each.status() == psutil.STATUS_STOPPED for each in stopped), "shards stop")
        Path(str(self.settings["config"])).write_text("silent_s = 1\n")
        psutil.Process(self.relay.program.pid).send_signal(signal.SIGHUP)
        self.relay.program.wait_for_line("reload: applied: silent_s")
        return self.kill_supervisor()

    def kill_everything(self) -> None:
        """Send SIGKILL to every process at once, and return when all have ended."""
        processes = self.processes()
        kill_those_that_run(processes)
        self.relay.program.kill()
        eventually(lambda: all(map(has_ended, processes)), "all processes have ended")

    def take_over(self) -> int:
        """Start a run with --takeover. Returns the pid of the run before when that has ended well."""
        before = self.relay.program
        self._left = self.processes()
        self.start("--takeover")
        if (status := before.wait(ENDED_S)) != 0:
            raise HarnessError(f"the run before ended with status {status}. Its output:\n{before.output}")
        return before.pid

    def break_takeover(self, after_s: float) -> bool:
        """Start a run with --takeover, and kill its supervisor alone. Returns when a run serves again.

        Args:
            after_s: how long after the run before has begun to hand over.

        Returns:
            Whether the run before goes on; otherwise it had been taken over already, and nh is started again.
        """
        before = self.relay
        first = len(before.program.lines)
        self._left = self.processes()
        killed = self.launch("--takeover")
        before.program.wait_for_line("takeover: handing the calls over", first=first)
        time.sleep(after_s)
        killed.program.kill()

        def serves_again() -> bool:
            return any(line.startswith("ready: ") for line in before.program.lines[first:])

        eventually(lambda: before.program.ended or serves_again(), "the run before ends or goes on", ENDED_S)
        if before.program.ended:
            self.start()
            return False
        self._relays.remove(killed)
        killed.program.close()
        return True

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit status."""
        psutil.Process(self.relay.program.pid).terminate()
        return self.relay.program.wait(ENDED_S)

    def handover_sockets(self) -> list[Path]:
        """The socket files at which orphaned shards wait for the next supervisor."""
        return sorted(self.place.directory.glob("shard-*.sock"))

    def close(self) -> None:
        """End all runs: SIGTERM first, SIGKILL for what remains."""
        for call in self._calls:
            call.hang_up()
        processes = [*self.processes(), *self._listeners()]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()  # a stopped one could not end by itself
        for relay in reversed(self._relays):
            if not relay.program.ended:
                with contextlib.suppress(HarnessError):  # what still runs is killed below
                    relay.program.stop()
        for process in (*processes, *self.processes(), *self._listeners()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(ENDED_S)
        for relay in self._relays:
            relay.program.close()

    def _listeners(self) -> Iterator[psutil.Process]:
        """Processes that listen at a socket in the runtime directory."""
        for path in self.place.directory.glob("*.sock"):
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                yield psutil.Process(listener_of(path))


def calls_of(shard: int, shards: int = SHARDS) -> Iterator[bytes]:
    """Call-ids that are routed to `shard` when the calls are new."""
    return (name for name in map(b"call-%d".__mod__, itertools.count()) if shard_of(name, shards) == shard)


def listener_of(path: Path) -> int:
    """The pid of the process that listens at a Unix socket. Raises OSError if no process does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.connect(str(path))
        return peer_of(probe).pid


@contextlib.contextmanager
def deployed_relay(
    ports: int | range = PORTS, *, shards: int = SHARDS, **settings: object
) -> Iterator[Deployment]:
    """A deployment without a run yet. Behind the context all its processes have ended.

    Args:
        ports: how many media ports, or which.
        shards: number of shards of a run.
        settings: fields of nh.config.Settings for every run.
    """
    with (
        place_for_relay(ports) as place,
        contextlib.closing(Deployment(place, settings, shards=shards)) as deployment,
    ):
        yield deployment


@contextlib.contextmanager
def relay_of_calls_that_expire(
    file: Path, *, shards: int = SHARDS, **settings: object
) -> Iterator[Deployment]:
    """A deployment whose calls live until kill_supervisor_as_calls_expire(). See deployed_relay().

    Args:
        file: where its runs find how long a call may be silent; the file is made.
        shards, settings: as of deployed_relay().
    """
    file.write_text("silent_s = 3600\n")
    with deployed_relay(PORTS, shards=shards, config=file, hang_s=0, **settings) as deployment:
        yield deployment


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended; its parent may not have reaped it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_goes_on(before: CallDetail, after: CallDetail) -> None:
    """A call keeps its ports, sessions and sources in another process, and no counter goes back."""
    assert [group.local_ports for group in after.groups] == [group.local_ports for group in before.groups]
    assert [each.sessionid for each in after.sessions] == [each.sessionid for each in before.sessions]
    legs_before, legs = _legs(before), _legs(after)
    assert legs_before
    assert [(leg.local, leg.announced, leg.source, leg.latched) for leg in legs] == [
        (leg.local, leg.announced, leg.source, leg.latched) for leg in legs_before
    ]
    assert all(now.packets >= then.packets for then, now in zip(legs_before, legs, strict=True))


def _legs(call: CallDetail) -> list[LegDetail]:
    pairs = [pair for session in call.sessions for pair in session.pairs]
    return [leg for pair in pairs for leg in (pair.from_, pair.to)]
