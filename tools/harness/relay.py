"""`nh run` under test: started as an operator starts it, with ports and a runtime directory of its own."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from nh.client import NativeClient
from nh.commands import ListCalls, ShowCall
from nh.results import CallDetail, CallList
from nh.stats import Snapshot, read_once, segment_name
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.waiting import eventually

PORTS = 400


class Place(NamedTuple):
    """Where a relay may live.

    Arguments:
        directory: its runtime directory.
        ports: its media ports.
        rpc_port: TCP port of its second RPC socket.
    """

    directory: Path
    ports: range
    rpc_port: int


class Relay:
    """A running `nh run`.

    Arguments:
        place: see Place.
        shards: number of shards.
        settings: environment variables such as NH_SILENT_S.
        wrapped_in: a command that runs it, such as setpriv.
        options: of the interpreter, such as -P.
        words: more arguments of `nh run`.
    """

    def __init__(
        self,
        place: Place,
        shards: int,
        settings: Mapping[str, str] | None = None,
        *,
        wrapped_in: Sequence[str] = (),
        options: Sequence[str] = (),
        words: Sequence[str] = (),
    ) -> None:
        self.directory, self.ports, rpc_port = place
        ports = f"{self.ports[0]}-{self.ports[-1]}"
        self.unix_address = str(self.directory / "nh.sock")
        self.tcp_address = f"127.0.0.1:{rpc_port}"
        self.arguments = [*wrapped_in, sys.executable, *options, "-m", "nh", "run", "--shards", str(shards)]
        self.arguments += ["--runtime-dir", str(self.directory), "--ports", ports]
        self.arguments += ["--rpc", self.unix_address, "--rpc", self.tcp_address, *words]
        self.program = Program(self.arguments, settings)

    def wait_until_ready(self) -> None:
        """Return once it says that every shard is up."""
        self.program.wait_for_line("ready")

    def shard_processes(self) -> list[psutil.Process]:
        """The shards' processes, but for one that ends at this moment, and for the spare."""
        return [child for child in psutil.Process(self.program.pid).children() if _is_shard(child)]

    def kill_all(self) -> None:
        """SIGKILL for the supervisor and its shards, with no time for either to notice the other's end."""
        shards, supervisor = self.shard_processes(), psutil.Process(self.program.pid)
        for process in (*shards, supervisor):
            process.send_signal(signal.SIGSTOP)
        for process in (supervisor, *shards):
            process.kill()
        psutil.wait_procs(shards, 5)
        self.program.wait()

    def descriptors(self) -> int:
        """Open file descriptors of the supervisor and all shards together."""
        processes = [psutil.Process(self.program.pid), *self.shard_processes()]
        return sum(process.num_fds() for process in processes)

    def memory_bytes(self) -> int:
        """Resident memory of the supervisor and all shards together."""
        processes = [psutil.Process(self.program.pid), *self.shard_processes()]
        return sum(int(process.memory_info().rss) for process in processes)

    def stats(self) -> Snapshot:
        """The counters as they were last published."""
        return read_once(self.directory)

    def calls(self, contains: bytes = b"") -> CallList:
        """The calls with `contains` in their call-id."""
        with NativeClient(self.unix_address) as client:
            return client.request(ListCalls(contains=contains))

    def call(self, call_id: bytes) -> CallDetail:
        """All about one call; raises UnknownCall if there is none."""
        with NativeClient(self.unix_address) as client:
            return client.request(ShowCall(call_id))

    def wait_until_gone(self, call_id: bytes) -> None:
        """Return once no call with `call_id` in its name is left."""
        eventually(lambda: not self.calls(call_id).calls, f"no call {call_id!r}")

    def all_ports_are_free(self) -> bool:
        """Whether no media port is taken, by the last publication."""
        totals = self.stats().totals
        return 0 < totals.ports_total == totals.ports_free

    def wait_until_idle(self, descriptors: int) -> None:
        """Return once all ports are free and no more than `descriptors` are open."""
        eventually(self.all_ports_are_free, "all media ports are free")
        eventually(
            lambda: self.descriptors() <= descriptors,
            f"no more than {descriptors} descriptors are open",
        )


def _is_shard(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name() == "nh-shard" and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def place_for_relay(ports: int = PORTS) -> Iterator[Place]:
    """A place with that many media ports, of which nothing is left behind the test."""
    with (
        tempfile.TemporaryDirectory(prefix="nh-test-") as directory,
        claim_ports(ports + 1) as claimed,
    ):
        try:
            yield Place(Path(directory), claimed[:-1], claimed[-1])
        finally:
            # the next nh would remove what one that was killed left, and there is none
            Path("/dev/shm", segment_name(Path(directory))).unlink(missing_ok=True)


@contextlib.contextmanager
def running_relay(*, shards: int = 2, ports: int = PORTS, **settings: object) -> Iterator[Relay]:
    """A relay that is ready, and ends, with exit status 0 and within the promised time, behind the test.

    Arguments:
        shards: number of shards.
        ports: number of media ports.
        settings: fields of nh.config.Settings.
    """
    environment = {f"NH_{name.upper()}": str(value) for name, value in settings.items()}
    with place_for_relay(ports) as place:
        relay = Relay(place, shards, environment)
        with relay.program as program:
            relay.wait_until_ready()
            yield relay
            assert program.stop() == 0, f"it did not end well; it said:\n{program.output}"
