"""nh.supervisor.main: the whole supervisor as a process, over shards that misbehave."""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nh
from nh.calls.media import Media, Side
from nh.client import Client, NativeClient
from nh.commands import Allocate, Close, CloseCall, GetStats, ListCalls, Ping, TransactionKey
from nh.errors import CommandTimeout, NhError, ShardUnavailable, Unavailable
from nh.results import Closed, Pong
from nh.stats import ShardState, read_once, segment_name
from nh.stats.reading import StatsReading
from nh.supervisor.shards.routing import shard_of
from nh.wire import native, netsip
from nh.wire.framing import Framer, frame
from tools.harness.program import Program
from tools.harness.relay import COMMAND_TIMEOUT_S
from tools.harness.waiting import TIMEOUT_S, eventually

RUNNER = str(Path(__file__).with_name("run_with_fake_shards.py"))
ROOT = str(Path(__file__).parents[2])
SHARDS = 2


class Run:
    """A supervisor with two fake shards; many at a time have the same ports, of which none is ever bound.

    Args:
        directory: its runtime directory.
        options: of the fake shards.
        settings: NH_… by field name.
    """

    def __init__(self, directory: Path, *options: str, **settings: object) -> None:
        self.directory = directory
        self.address = str(directory / "nh.sock")
        ports = {"ports": "1100-1499", "share_ports": True}
        patience = {"command_timeout_s": COMMAND_TIMEOUT_S}
        values = {"shards": SHARDS, "prefork": 0, "runtime_dir": directory, **ports, **patience, **settings}
        environment = {f"NH_{name.upper()}": str(value) for name, value in values.items()}
        self.program = Program([sys.executable, RUNNER, *options], {**environment, "PYTHONPATH": ROOT})

    def client(self, timeout_s: float = 20.0) -> NativeClient:
        return NativeClient(self.address, timeout_s)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.program.pid).children()

    def stats(self) -> StatsReading:
        return read_once(self.directory)

    def status(self, shard: int) -> tuple[ShardState, int]:
        """A shard's state and how often it was started again, as published."""
        reading = self.stats().shards[shard]
        return reading.state, reading.restarts

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(self.address) == 0

    def end_at_once(self) -> None:
        """End it by two signals: the second one waits for no shard."""
        psutil.Process(self.program.pid).send_signal(signal.SIGTERM)
        self.program.wait_for_line("ending")
        assert self.program.stop(signal.SIGTERM) == 0

    def is_up(self, shard: int) -> bool:
        try:
            with self.client() as client:
                return client.request(CloseCall(call_of(shard))).sessions == shard
        except Unavailable:
            return False


def call_of(shard: int) -> bytes:
    """A call-id that this shard has, and which it answers as any other."""
    return next(b"plain-%d" % n for n in range(1000) if shard_of(b"plain-%d" % n, SHARDS) == shard)


def misbehaving(behaviour: bytes) -> int:
    """The shard that gets the call-id which makes it misbehave."""
    return shard_of(behaviour, SHARDS)


@contextlib.contextmanager
def running(directory: Path, *options: str, **settings: object) -> Iterator[Run]:
    run = Run(directory, *options, **settings)
    with run.program:
        run.program.wait_for_line("ready")
        yield run


# --- start ----------------------------------------------------------------------------------------


def test_the_ready_line_is_all_of_standard_output_and_says_what_there_is(tmp_path: Path) -> None:
    run = Run(tmp_path, rpc=f"{tmp_path}/a.sock,127.0.0.1:0")
    with run.program:
        ready = run.program.wait_for_line("ready")
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:SHARDS]))
        assert ready.startswith(f"ready: 2 shards on CPUs {cpus}; rpc {tmp_path}/a.sock 127.0.0.1:")
        assert ready.endswith("; ports 1100-1499; user space only; up to 100 calls (limited by ports)")


def test_a_state_directory_is_had_while_the_relay_runs_and_its_store_is_closed_in_the_end(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    with running(tmp_path / "1", state=state) as run:
        assert (state / "calls.sqlite3").exists()
        assert run.stats().supervisor.store_errors == 0
        second = Run(tmp_path / "2", state=state)
        with second.program:
            second.program.wait_for_line(
                f"environment: NH_STATE: another nh (pid {run.program.pid}) runs with {state}"
            )
            assert second.program.wait() == 1
    assert {file.name for file in state.iterdir()} == {"calls.sqlite3", "nh.lock"}


def test_who_connects_before_all_shards_are_up_waits_instead_of_being_refused(tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = Run(tmp_path, "--start-when", str(go))
    with run.program:
        eventually(run.listens, "the RPC socket is there")
        with pipelined(run.address) as connection:
            connection.send(native.encode_request(1, CloseCall(call_of(1))))
            assert not any(line.startswith("ready") for line in run.program.lines)
            go.touch()
            assert native.decode_reply(connection.reply(), Closed) == (1, Closed(1))
        run.program.wait_for_line("ready")


@pytest.mark.full
def test_shards_that_never_get_ready_make_the_start_fail_and_leave_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, "--die-at-start")
    with run.program:
        assert run.program.wait(90) == 1
    assert "nh cannot start: shard" in run.program.output
    assert "exit status 9" in run.program.output
    assert "ready" not in run.program.output
    assert_nothing_is_left(tmp_path)


def test_what_cannot_be_configured_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "nh.sock").touch()
    run = Run(tmp_path)
    with run.program:
        assert run.program.wait(90) == 2
    (line,) = run.program.lines
    assert "nh cannot start: rpc: " in line


def test_a_second_run_on_the_same_directory_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        second = Run(tmp_path, rpc=str(tmp_path / "other.sock"))
        with second.program:
            assert second.program.wait(90) == 1
        assert f"another nh (pid {run.program.pid}) runs" in second.program.output
        assert run.is_up(0)


@pytest.mark.full
def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        shards = run.children()
        run.program.stop(signal.SIGKILL)
        psutil.wait_procs(shards, timeout=20)
        assert not any(shard.is_running() for shard in shards)
        assert (tmp_path / "nh.sock").exists()
    with running(tmp_path) as again:
        assert again.is_up(0)


# --- routing --------------------------------------------------------------------------------------


def test_each_call_goes_to_its_shard_in_both_protocols(tmp_path: Path) -> None:
    with running(tmp_path) as run, run.client() as client:
        results = client.request_all([CloseCall(b"call-%d" % n) for n in range(300)])
        assert [getattr(result, "sessions", None) for result in results] == [
            shard_of(b"call-%d" % n, SHARDS) for n in range(300)
        ]
        medium = {"addr": "127.0.0.1", "port": 4000, "range": 2, "proto": "RTP/AVP", "media": "audio"}
        for shard, port in ((0, 1100), (1, 1300)):
            key = TransactionKey(call_of(shard), 1, b"a", b"b")
            ports = Client(run.address, TIMEOUT_S).allocate_sockets(key, 0, "127.0.0.1", [medium])
            assert ports == [("127.0.0.1", port, 2)]


def test_lists_of_all_shards_are_one_list(tmp_path: Path) -> None:
    call_ids = sorted(b"list-%d" % n for n in range(25))
    media = (Media("127.0.0.1", 4000, 2),)
    with running(tmp_path) as run, run.client() as client:
        client.request_all(
            [Allocate(TransactionKey(each, 1, b"a"), Side.FROM, "127.0.0.1", media) for each in call_ids]
        )
        shown: list[bytes] = []
        page = client.request(ListCalls(contains=b"list", limit=4))
        while True:
            shown += [call.call_id for call in page.calls]
            if not page.next:
                break
            page = client.request(ListCalls(contains=b"list", limit=4, after=page.next))
        assert shown == call_ids


# --- shards that misbehave ------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [b"die", b"kill"])
def test_a_shard_that_dies_is_started_again_while_the_other_serves(tmp_path: Path, behaviour: bytes) -> None:
    bad = misbehaving(behaviour)
    with running(tmp_path) as run:
        with run.client() as client:
            assert client.request(CloseCall(call_of(bad))).sessions == bad
            with pytest.raises(Unavailable, match="ended"):
                client.request(CloseCall(behaviour))
            assert client.request(CloseCall(call_of(1 - bad))).sessions == 1 - bad
        eventually(lambda: run.is_up(bad), "the shard is up again")
        eventually(lambda: run.status(bad) == (ShardState.UP, 1), "the restart is counted")


def test_netsip_clients_get_undef_while_their_shard_is_down(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        assert Client(run.address, TIMEOUT_S).close_session([b"die", 1, b"a", b"b"]) is None
        assert Client(run.address, TIMEOUT_S).close_session([b"die", 1, b"a", b"b"]) is None


def test_a_hanging_shard_holds_up_its_own_calls_only(tmp_path: Path) -> None:
    bad = misbehaving(b"hang")
    with (
        running(tmp_path, command_timeout_s=60) as run,
        run.client() as client,
        pipelined(run.address) as connection,
    ):
        connection.send(native.encode_request(1, CloseCall(b"hang")))
        assert client.request(CloseCall(call_of(1 - bad))).sessions == 1 - bad
        assert client.request(Ping()) == Pong(nh.__version__)
        assert client.request(GetStats()).values["version"] == nh.__version__
        assert connection.is_silent()
        run.end_at_once()


def test_commands_for_a_hanging_shard_fail_after_their_time(tmp_path: Path) -> None:
    bad = misbehaving(b"hang")
    with running(tmp_path, command_timeout_s=0.3) as run, run.client() as client:
        for call_id in (b"hang", call_of(bad)):
            with pytest.raises(CommandTimeout, match=f"shard {bad} did not answer"):
                client.request(CloseCall(call_id))
        with pytest.raises(CommandTimeout):
            client.request(ListCalls())
        # 4 if the other shard was late with its part of the list, too
        eventually(lambda: run.stats().supervisor.rpc_timeouts >= 3, "timeouts are counted")
        run.end_at_once()


def test_a_list_says_which_shard_is_missing(tmp_path: Path) -> None:
    bad = misbehaving(b"hang")
    with running(tmp_path, command_timeout_s=0.3) as run, run.client() as client:
        with pytest.raises(NhError):
            client.request(CloseCall(b"hang"))

        def names_it() -> bool:
            """On a busy host the other shard may be late, too."""
            with pytest.raises(NhError, match="the list is incomplete") as refused:
                client.request(ListCalls())
            return f"shard {bad}" in str(refused.value)

        eventually(names_it, "the list names the shard that hangs")
        run.end_at_once()


# --- clients that misbehave -----------------------------------------------------------------------


class Pipeline:
    """A raw connection with frames."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._framer = Framer(native.MAX_REPLY_BYTES)

    def send(self, payload: bytes) -> None:
        self.sock.sendall(frame(payload))

    def is_silent(self) -> bool:
        """Whether nothing has come yet."""
        return not select.select([self.sock], [], [], 0)[0]

    def reply(self) -> bytes:
        while True:
            payload = self._framer.next_frame()
            if payload is not None:
                return payload
            data = self.sock.recv(65536)
            assert data, "the connection was closed"
            self._framer.feed(data)


@contextlib.contextmanager
def pipelined(address: str) -> Iterator[Pipeline]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(address)
        yield Pipeline(sock)


def test_idle_half_and_garbled_clients_delay_no_other_and_leave_no_descriptor(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        supervisor = psutil.Process(run.program.pid)
        assert run.is_up(0)
        eventually(lambda: run.stats().supervisor.rpc_clients == 0, "no client is connected")
        before = supervisor.num_fds()
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(pipelined(run.address)) for _ in range(240)]
            for half in connections[200:220]:
                half.sock.sendall(struct.pack(">I", 1000) + b"\x05\x0b")
            for garbled in connections[220:]:
                garbled.sock.sendall(b"\xff" * 100)
            assert Client(run.address, TIMEOUT_S).close_session([call_of(1), 1, b"a", b"b"]) is None
            assert run.is_up(1)
            eventually(lambda: run.stats().supervisor.rpc_malformed == 20, "garbage is counted")
            assert run.stats().supervisor.rpc_clients >= 220
        eventually(lambda: supervisor.num_fds() <= before, "all descriptors are closed")


def test_a_client_that_leaves_before_its_reply_harms_no_other(tmp_path: Path) -> None:
    with running(tmp_path, command_timeout_s=0.3) as run:
        with pipelined(run.address) as connection:
            connection.send(netsip.encode_request(Close(TransactionKey(b"ignore", 1, b"a", b"b"))))
        eventually(lambda: run.stats().supervisor.rpc_timeouts == 1, "the command is given up")
        eventually(lambda: run.stats().supervisor.rpc_clients == 0, "no client is connected")
        eventually(lambda: run.is_up(0), "the shard serves others")


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as run:
        shards = run.children()
        with pipelined(run.address) as idle:
            assert run.program.stop(number) == 0
            assert idle.sock.recv(1) == b""
        assert not any(shard.is_running() for shard in shards)
        assert run.program.output.count("exit status 0") == SHARDS
    assert_nothing_is_left(tmp_path)


@pytest.mark.full
def test_shards_that_do_not_want_to_end_are_killed_in_time(tmp_path: Path) -> None:
    with running(tmp_path, "--ignore-shutdown") as run:
        shards = run.children()
        assert run.program.stop() == 0
        assert not any(shard.is_running() for shard in shards)


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with running(tmp_path, "--ignore-shutdown") as run:
        run.end_at_once()
        assert "killing the shards" in run.program.output


def test_commands_under_way_are_answered_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path) as run, pipelined(run.address) as connection:
        connection.send(native.encode_request(1, CloseCall(b"ignore")))
        connection.send(native.encode_request(2, CloseCall(call_of(misbehaving(b"ignore")))))
        assert b'"id":2' in connection.reply()  # so the first is under way
        run.program.stop()
        assert ShardUnavailable.code.encode() in connection.reply()


def test_a_hangup_applies_what_can_change_and_names_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "nh.toml"
    file.write_text("silent_s = 30\n")
    with running(tmp_path, config=file) as run:
        supervisor = psutil.Process(run.program.pid)
        supervisor.send_signal(signal.SIGHUP)
        run.program.wait_for_line("reload: nothing to apply")
        file.write_text("silent_s = 60\nkernel_flows = 7\n")
        supervisor.send_signal(signal.SIGHUP)
        run.program.wait_for_line("reload: applied: silent_s; `nh upgrade` applies: kernel_flows")
        file.write_text("silent_s = 0\n")
        supervisor.send_signal(signal.SIGHUP)
        line = run.program.wait_for_line("ERROR")
        assert f"reload: {file}:1: silent_s: 0 s is not in 1 to" in line
        assert "all settings stay as they are" in line
        assert run.is_up(0)


def test_only_the_ready_line_goes_to_standard_output(tmp_path: Path) -> None:
    environment = {"NH_RUNTIME_DIR": str(tmp_path), "NH_SHARDS": "1", "PYTHONPATH": ROOT}
    environment |= {"NH_PORTS": "1100-1499", "NH_SHARE_PORTS": "true"}
    with subprocess.Popen(
        [sys.executable, RUNNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready: 1 shard on CPU ")
        process.terminate()
        assert process.stdout.read() == ""


def test_a_relay_that_is_told_to_drain_and_has_no_calls_ends_with_status_0(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        shards = run.children()
        psutil.Process(run.program.pid).send_signal(signal.SIGUSR1)
        assert run.program.wait() == 0
        assert not any(shard.is_running() for shard in shards)
        assert "drained: no call is left" in run.program.output
    assert_nothing_is_left(tmp_path)


def test_a_relay_that_drains_before_its_shards_are_up_ends_when_they_are(tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = Run(tmp_path, "--start-when", str(go))
    with run.program:
        eventually(lambda: len(run.children()) == SHARDS, "its shards are started")
        psutil.Process(run.program.pid).send_signal(signal.SIGUSR1)
        run.program.wait_for_line("draining")
        go.touch()
        assert run.program.wait() == 0


def assert_nothing_is_left(directory: Path) -> None:
    assert not (directory / "nh.sock").exists()
    assert not Path("/dev/shm", segment_name(directory)).exists()
    assert (directory / "nh.lock").read_text() == ""


WITHOUT_THREADS = """
import sys
from nh.config.sources import read_settings
from nh.supervisor.main import run
from tests.no_threads import no_threads
with no_threads("store"):
    sys.exit(run(read_settings))
"""


def test_a_host_without_threads_is_told_with_the_limit_to_raise(tmp_path: Path) -> None:
    """Its exit status has a service manager start it again."""
    settings = {"RUNTIME_DIR": tmp_path, "STATE": tmp_path / "state", "PORTS": "1100-1499", "SHARE_PORTS": 1}
    environment = {f"NH_{name}": str(value) for name, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS],
        env={**os.environ, **environment, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nh cannot start: no thread can be started; raise the limit on processes" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 1
