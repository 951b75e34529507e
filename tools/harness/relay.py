"""One `nh run`: started as an operator starts it, with ports and a runtime directory of its own."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from nh.client import NativeClient
from nh.commands import ListCalls, ShowCall
from nh.errors import StatsUnavailable
from nh.results import CallDetail, CallList
from nh.stats import ShardState, read_once
from nh.stats.reading import StatsReading
from tools.harness import HarnessError
from tools.harness.own_directory import own_directory
from tools.harness.ports import claim_ports, free_port, min_max
from tools.harness.program import Program
from tools.harness.waiting import TIMEOUT_S, eventually

PORTS: Final = 400
SILENT_S: Final = 3600
"""How long calls may be silent, unless settings say otherwise. On a busy host the phones of a test are silent
for longer than nh's own 30 s."""

COMMAND_TIMEOUT_S: Final = 20
"""How long a shard may take for one command, unless settings say otherwise. A busy host exceeds nh's 2 s."""


class Place(NamedTuple):
    """Where a relay runs.

    Attributes:
        directory: its runtime directory.
        ports: its media ports.
        rpc_port: the TCP port of its second RPC socket.
    """

    directory: Path
    ports: range
    rpc_port: int


class Relay:
    """A running `nh run`.

    Args:
        place: its runtime directory and ports.
        shards: number of shards; 0: one for each usable CPU.
        environment: environment variables such as NH_SILENT_S; see `as_environment`. Without any, the store
            is in the runtime directory, calls may be silent for SILENT_S, if there is no NH_CONFIG either,
            and a shard may take COMMAND_TIMEOUT_S for a command.
        wrapped_in: a command that runs it, such as setpriv.
        options: options of the Python interpreter, such as -P.
        words: further arguments of `nh run`.
        cpus: the CPUs that it may use; None: those of this process.

    Attributes:
        directory, ports: of its place.
        unix_address, tcp_address: where it serves RPC.
        arguments: its command line.
        started_ns: when it was started, nanoseconds of time.monotonic_ns().
        program: the process.
    """

    def __init__(
        self,
        place: Place,
        shards: int,
        environment: Mapping[str, str] | None = None,
        *,
        wrapped_in: Sequence[str] = (),
        options: Sequence[str] = (),
        words: Sequence[str] = (),
        cpus: Iterable[int] | None = None,
    ) -> None:
        self.directory, self.ports, rpc_port = place
        self.unix_address = str(self.directory / "nh.sock")
        self.tcp_address = f"127.0.0.1:{rpc_port}"
        self.arguments = [*wrapped_in, sys.executable, *options, "-m", "nh", "run", "--shards", str(shards)]
        self.arguments += ["--runtime-dir", str(self.directory), "--ports", min_max(self.ports)]
        self.arguments += ["--rpc", self.unix_address, "--rpc", self.tcp_address, *words]
        self.started_ns = time.monotonic_ns()
        own = {
            "NH_STATE": str(self.directory / "state"),
            "NH_SILENT_S": str(SILENT_S),
            "NH_COMMAND_TIMEOUT_S": str(COMMAND_TIMEOUT_S),
        }
        given = dict(environment or {})
        if "NH_CONFIG" in given:
            del own["NH_SILENT_S"]  # it would win over the file
        own = {name: value for name, value in own.items() if name not in os.environ}
        self.program = Program(self.arguments, own | given, cpus=cpus)

    def wait_until_ready(self) -> None:
        """Return when it reports that every shard is up. Raises HarnessError if it does not."""
        try:
            self.program.wait_for_line("ready")
        except HarnessError as exc:
            what = "ended before it was ready" if self.program.ended else "is not ready in time"
            raise HarnessError(f"nh run {what}. Its output:\n{self.program.output}") from exc

    def shard_processes(self) -> list[psutil.Process]:
        """The shard processes that run, without the zygote."""
        return [child for child in psutil.Process(self.program.pid).children() if _is_shard(child)]

    def shard_pid(self, shard: int) -> int:
        """The process of a shard that is up, by the statistics; 0 if it is not up."""
        return shard_pid(self.directory, shard)

    def kill_all(self) -> None:
        """Send SIGKILL to the supervisor and its shards before any of them notices the end of another."""
        shards, supervisor = self.shard_processes(), psutil.Process(self.program.pid)
        for process in (*shards, supervisor):
            process.suspend()
        for process in (supervisor, *shards):
            process.kill()
        psutil.wait_procs(shards, TIMEOUT_S)
        self.program.wait()

    def descriptors(self) -> int:
        """Open file descriptors of the supervisor and all shards together."""
        processes = [psutil.Process(self.program.pid), *self.shard_processes()]
        return sum(process.num_fds() for process in processes)

    def memory_bytes(self) -> int:
        """Resident memory of the supervisor and all shards together."""
        processes = [psutil.Process(self.program.pid), *self.shard_processes()]
        return sum(int(process.memory_info().rss) for process in processes)

    def stats(self) -> StatsReading:
        """The counters as they were last published. Raises StatsUnavailable."""
        return read_once(self.directory)

    def has_stored(self, calls: int) -> bool:
        """Whether the store has got so many changes of calls, and none waits."""
        supervisor = self.stats().supervisor
        return supervisor.store_written >= calls and supervisor.store_pending == 0

    def calls(self, contains: bytes = b"") -> CallList:
        """The calls whose call-id contains `contains`."""
        with NativeClient(self.unix_address, TIMEOUT_S) as client:
            return client.request(ListCalls(contains=contains))

    def call(self, call_id: bytes) -> CallDetail:
        """All about one call. Raises UnknownCall if there is none."""
        with NativeClient(self.unix_address, TIMEOUT_S) as client:
            return client.request(ShowCall(call_id))

    def wait_until_gone(self, call_id: bytes) -> None:
        """Return when no call is left whose call-id contains `call_id`."""
        eventually(lambda: not self.calls(call_id).calls, f"no call {call_id!r}")

    def all_ports_are_free(self) -> bool:
        """Whether no media port is in use, by the last publication."""
        totals = self.stats().totals
        return 0 < totals.ports_total == totals.ports_free

    def wait_until_idle(self, descriptors: int) -> None:
        """Return when all ports are free and at most `descriptors` are open."""
        eventually(self.all_ports_are_free, "all media ports are free")
        eventually(
            lambda: self.descriptors() <= descriptors,
            f"no more than {descriptors} descriptors are open",
        )


def shard_pid(directory: Path, shard: int) -> int:
    """The process of a shard, by the statistics of the nh with that runtime directory; 0: it is not up."""
    with contextlib.suppress(StatsUnavailable):
        state = read_once(directory).shards[shard]
        if state.state is ShardState.UP and psutil.pid_exists(state.pid):
            return state.pid
    return 0


def as_environment(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment variables of `settings`, which are fields of nh.config.Settings."""
    return {f"NH_{name.upper()}": str(value) for name, value in settings.items()}


@contextlib.contextmanager
def place_for_relay(ports: int | range = PORTS) -> Iterator[Place]:
    """A place for a relay; its directory and its shared memory are removed behind the context.

    Args:
        ports: how many media ports that no other program uses; or which ports.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(own_directory())
        if isinstance(ports, range):
            yield Place(directory, ports, free_port())
        else:
            claimed = stack.enter_context(claim_ports(ports + 1))
            yield Place(directory, claimed[:-1], claimed[-1])


@contextlib.contextmanager
def running_relay(*, shards: int = 2, ports: int | range = PORTS, **settings: object) -> Iterator[Relay]:
    """A relay that is ready. Behind the context it has ended with exit status 0 and in time.

    Args:
        shards: number of shards; 0: one for each usable CPU.
        ports: how many media ports, or which.
        settings: fields of nh.config.Settings.

    Raises:
        HarnessError: it does not become ready, or does not end well.
    """
    with place_for_relay(ports) as place:
        relay = Relay(place, shards, as_environment(settings))
        with relay.program as program:
            relay.wait_until_ready()
            yield relay
            if (status := program.stop()) != 0:
                raise HarnessError(f"nh run ended with status {status}. Its output:\n{program.output}")


def kill_those_that_run(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL to each process that has not ended by itself, as an orphaned shard without calls does."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _is_shard(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name().startswith("nh-shard-") and process.status() != psutil.STATUS_ZOMBIE
    return False
