"""nh run --takeover that ends before it serves: the nh that was to end goes on, and loses no client."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import psutil
import pytest

import nh
from nh.calls.media import Endpoint
from nh.client import NativeClient
from nh.commands import Ping
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import HandoverMessage, TakenOver, Yield, decode_from_old, encode
from nh.results import Pong
from nh.supervisor.handover.receive import NAME
from nh.supervisor.orphans.client import OrphanClient
from nh.supervisor.orphans.find import find_orphans
from nh.supervisor.settings_in_force import read_in_force
from tests.supervisor.test_run import SHARDS, Run, running
from tests.survival.test_takeover import come_to, is_refused, ping, receive, wait_for_a_second_start
from tools.harness.command import nh as nh_command
from tools.harness.command import nh_ok
from tools.harness.deployment import Deployment, assert_goes_on, deployed_relay
from tools.harness.ports import free_port
from tools.harness.program import READY_S
from tools.harness.relay import Relay, kill_those_that_run
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 4
START_S = READY_S
"""Longest wait for what follows a start of nh."""

NG = ("ng-tcp", "127.0.0.1:0"), ("ng-udp", "127.0.0.1:0")

GOES_ON = "takeover failed: the other nh has ended before it served; this one goes on"


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1") as deployment:
        yield deployment


# --- a process that takes over, and ends after a step of its own -----------------------------------


def ends_behind_the_message(sock: socket.socket, _: Path) -> None:
    """It has read the first message; the clients' connections wait."""
    message = decode_from_old(receive(sock))
    assert isinstance(message, HandoverMessage)
    assert message.awaits
    assert not message.settings, "they have secrets"


def ends_with_all_that_was_handed_over(sock: socket.socket, directory: Path) -> None:
    ends_behind_the_message(sock, directory)
    while receive(sock):
        pass


def ends_when_it_has_found_the_shards(sock: socket.socket, directory: Path) -> None:
    ends_with_all_that_was_handed_over(sock, directory)
    for orphan in both_orphans(directory):
        orphan.close()


def ends_when_it_has_the_calls_of_one_shard(sock: socket.socket, directory: Path) -> None:
    ends_with_all_that_was_handed_over(sock, directory)
    orphans = both_orphans(directory)
    had: list[bytes] = []

    def take(call_id: bytes, _snapshot: bytes, sockets: list[tuple[Endpoint, int]]) -> None:
        had.append(call_id)
        close_all([fd for _, fd in sockets])

    orphans[0].transfer(take)
    assert len(had) == CALLS // 2
    for orphan in orphans:
        orphan.close()


def both_orphans(directory: Path) -> Sequence[OrphanClient]:
    found = find_orphans(directory)
    assert [each.hello.calls for each in found] == [CALLS // 2] * 2
    return found


@pytest.mark.parametrize(
    "step",
    [
        ends_behind_the_message,
        ends_with_all_that_was_handed_over,
        ends_when_it_has_found_the_shards,
        ends_when_it_has_the_calls_of_one_shard,
    ],
)
def test_the_old_one_goes_on_whenever_the_new_one_ends(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, step: Callable[[socket.socket, Path], None]
) -> None:
    for module in ("client", "find"):
        monkeypatch.setattr(f"nh.supervisor.orphans.{module}.REPLY_S", TIMEOUT_S)
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    before = [old.call(call.call_id) for call in calls]
    directory = deployment.place.directory
    names = (("unix", deployment.address), ("tcp", old.tcp_address), *NG)
    with NativeClient(old.unix_address, START_S) as client:
        assert client.request(Ping()) == Pong(nh.__version__)
        with come_to(deployment) as sock:
            sock.send(encode(Yield(names)))
            step(sock, directory)
        old.program.wait_for_line(GOES_ON)
        assert client.request(Ping()) == Pong(nh.__version__), "its connection is the same"
    wait_for_a_second_start(old.program)
    readies = [line for line in old.program.lines if "ready: " in line]
    assert [line.split("; ")[1:3] for line in readies] == [readies[0].split("; ")[1:3]] * 2
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, old.call(call.call_id))
        call.talk()
        assert call.end() == 1


_TAKES_OVER_AS_AN_EARLIER_VERSION = """
import socket, sys
from nh.ipc.channel import receive_record
from nh.ipc.handover_messages import Yield, encode
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
    sock.connect(sys.argv[1])
    sock.send(encode(Yield()))
    receive_record(sock)
print("received", flush=True)
sys.stdin.read()
"""


def test_the_old_one_goes_on_when_a_new_one_of_an_earlier_version_is_killed(deployment: Deployment) -> None:
    """That one closes its connection at once, and tells nothing when it serves."""
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    command = [sys.executable, "-c", _TAKES_OVER_AS_AN_EARLIER_VERSION]
    with (
        NativeClient(old.unix_address, START_S) as client,
        subprocess.Popen(
            [*command, str(deployment.place.directory / NAME)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as new,
    ):
        assert client.request(Ping()) == Pong(nh.__version__)
        assert new.stdout is not None
        assert new.stdout.readline() == "received\n"
        new.kill()
        old.program.wait_for_line(GOES_ON)
        assert client.request(Ping()) == Pong(nh.__version__), "its connection is the same"
    for call in calls:
        call.talk()
        assert call.end() == 1


@pytest.mark.parametrize("http", [False, True], ids=["", "which serves no HTTP"])
def test_a_new_one_that_cannot_start_takes_nothing_away(deployment: Deployment, http: bool) -> None:
    port = free_port()
    old = deployment.start(http=f"127.0.0.1:{port}" if http else "")
    calls = deployment.make_calls(CALLS)
    if http:
        suspend_http(old, port)
    with (
        socket.create_server(("127.0.0.1", free_port())) as taken,
        NativeClient(old.unix_address, START_S) as client,
    ):
        assert client.request(Ping()) == Pong(nh.__version__)
        new = deployment.launch("--takeover", ng=f"127.0.0.1:{taken.getsockname()[1]}").program
        assert new.wait(START_S) == 1
        assert "nh cannot start: " in new.output
        assert "another program, listens on it" in new.output
        old.program.wait_for_line(GOES_ON)
        assert client.request(Ping()) == Pong(nh.__version__)
    assert ping(old.unix_address, START_S) == Pong(nh.__version__), "the file of its socket is there"
    if http:
        wait_for_http(port)
    for call in calls:
        call.talk()
        assert call.end() == 1
    assert old.program.stop() == 0
    assert sorted(path.name for path in deployment.place.directory.iterdir()) == ["nh.lock"]


def suspend_http(relay: Relay, port: int) -> None:
    """Wait for its HTTP process, and stop it: it closes none of its sockets by itself."""
    wait_for_http(port)
    children = psutil.Process(relay.program.pid).children()
    (process,) = [child for child in children if child.name() == "nh-http"]
    process.suspend()


def wait_for_http(port: int) -> None:
    """Wait until a process serves HTTP at a port of 127.0.0.1."""

    def is_healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=START_S).is_success
        except httpx.TransportError:
            return False

    eventually(is_healthy, "HTTP is served", START_S)


@pytest.mark.parametrize("then", ['ng = ["127.0.0.1:{taken}"]', "ng = ["], ids=["a port in use", "no TOML"])
def test_the_old_one_goes_on_with_the_settings_that_it_had(tmp_path: Path, then: str) -> None:
    """The file that both have read may be what has stopped the new one."""
    port = free_port()
    config = tmp_path / "nh.toml"
    config.write_text(f'ng = ["127.0.0.1:{port}"]\nsilent_s = 3600\n')
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        deployed_relay(config=config, interface="pub/127.0.0.1") as deployment,
    ):
        old = deployment.start()
        call = deployment.make_call(b"call")
        nh_ok(deployment.place, "log", "warning")
        config.write_text(then.replace("{taken}", str(taken.getsockname()[1])))
        with come_to(deployment) as sock:
            sock.send(encode(Yield((("unix", deployment.address),))))
            ends_behind_the_message(sock, deployment.place.directory)
        old.program.wait_for_line(GOES_ON)
        wait_for_a_second_start(old.program)
        assert old.program.output.count(f"; ng 127.0.0.1:{port};") == 2
        in_force = read_in_force(deployment.place.directory)
        assert in_force is not None
        assert (in_force.settings["silent_s"], in_force.settings["log_level"]) == (3600, "warning")
        assert (in_force.file, in_force.origins["ng"]) == (str(config), f"{config}:1")
        call.talk()
        assert call.end() == 1


def test_the_old_one_goes_on_with_the_key_of_the_store_that_it_had(tmp_path: Path) -> None:
    """The file may have been replaced for the new one, and its calls are encrypted with what was there."""
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("before" * 10)
    with deployed_relay(
        state=str(tmp_path / "state"), state_key_file=str(key), interface="pub/127.0.0.1"
    ) as deployment:
        old = deployment.start()
        call = deployment.make_call(b"call")
        directory = deployment.place.directory
        before = read_in_force(directory)
        key.write_text("behind" * 10)
        with come_to(deployment) as sock:
            sock.send(encode(Yield((("unix", deployment.address),))))
            ends_behind_the_message(sock, directory)
        old.program.wait_for_line(GOES_ON)
        wait_for_a_second_start(old.program)
        then = read_in_force(directory)
        assert before is not None
        assert then is not None
        assert then.state_key == before.state_key != ""
        call.talk()
        assert call.end() == 1


def test_a_new_one_whose_settings_cannot_be_used_asks_for_nothing(deployment: Deployment) -> None:
    old = deployment.start()
    missing = deployment.place.directory / "missing" / "nh.sock"
    new = deployment.launch("--takeover", "--rpc", str(missing)).program
    assert new.wait(START_S) == 2
    assert "there is no directory" in new.output
    assert ping(old.unix_address, START_S) == Pong(nh.__version__)
    assert "takeover" not in old.program.output


@pytest.mark.parametrize("by", ["takeover", "upgrade"])
def test_a_port_of_another_program_is_found_while_the_old_one_serves(tmp_path: Path, by: str) -> None:
    config = tmp_path / "nh.toml"
    config.write_text(f'ng = ["127.0.0.1:{free_port()}"]\nsilent_s = 3600\n')
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        deployed_relay(config=config, interface="pub/127.0.0.1") as deployment,
    ):
        old = deployment.start()
        config.write_text(f'ng = ["127.0.0.1:{taken.getsockname()[1]}"]\n')
        if by == "takeover":
            new = deployment.launch("--takeover").program
            assert new.wait(START_S) == 1
            said = new.output
        else:
            refused = nh_command(deployment.place, "upgrade")
            assert refused.exit_code == 1
            said = refused.stderr
        assert "another program, listens on it" in said
        assert ping(old.unix_address, START_S) == Pong(nh.__version__)
        assert "takeover" not in old.program.output


def test_sockets_that_the_new_one_does_not_use_are_closed_for_it(deployment: Deployment) -> None:
    old = deployment.start()
    deployment.make_calls(CALLS)
    with come_to(deployment) as sock:
        sock.send(encode(Yield(NG)))
        message = decode_from_old(receive(sock))
        assert isinstance(message, HandoverMessage)
        assert message.listeners == NG
        assert is_refused(deployment.address)
        sock.send(encode(TakenOver()))
        kill_those_that_run(old.shard_processes())
        assert old.program.wait(START_S) == 0


@pytest.mark.parametrize("by", ["takeover", "upgrade"])
@pytest.mark.parametrize("what", ["ng", "http"])
def test_the_new_one_may_listen_at_another_address_of_the_same_port(
    tmp_path: Path, what: str, by: str
) -> None:
    port = free_port()
    config = tmp_path / "nh.toml"
    config.write_text(f'{what} = ["127.0.0.1:{port}"]\n')
    with deployed_relay(config=config, interface="pub/127.0.0.1") as deployment:
        old = deployment.start()
        call = deployment.make_call(b"call")
        if what == "http":
            suspend_http(old, port)
        config.write_text(f'{what} = ["localhost:{port}"]\n')
        if by == "takeover":
            deployment.start("--takeover")
        else:
            nh_ok(deployment.place, "upgrade")
            wait_for_a_second_start(old.program)
        assert f"; {what} localhost:" in deployment.relay.program.output
        call.talk()
        assert call.end() == 1


# --- a process that takes over, and whose shards never get ready ------------------------------------


@contextlib.contextmanager
def taking_over(directory: Path, *options: str) -> Iterator[tuple[Run, Run]]:
    """A run that has handed over, and the one that it waits for: nh itself is asked to take over."""
    with running(directory) as old:
        new = Run(directory, "--takeover", *options)
        with new.program:
            yield old, new


def test_the_old_one_goes_on_when_the_new_one_is_killed(tmp_path: Path) -> None:
    with taking_over(tmp_path, "--start-when", str(tmp_path / "never")) as (old, new):
        eventually(lambda: len(new.children()) == SHARDS, "it starts its shards", START_S)
        shards = new.children()
        new.program.kill()
        assert_goes_on_alone(old)
    assert not psutil.wait_procs(shards, TIMEOUT_S)[1], "shards of a killed supervisor end"


def test_the_old_one_goes_on_when_the_new_one_gives_up(tmp_path: Path) -> None:
    with taking_over(tmp_path, "--die-at-start") as (old, new):
        assert new.program.wait(90) == 1
        assert "nh cannot start: shard" in new.program.output
        assert_goes_on_alone(old)


def assert_goes_on_alone(run: Run) -> None:
    run.program.wait_for_line(GOES_ON)
    wait_for_a_second_start(run.program)
    assert all(map(run.is_up, range(SHARDS)))
    assert run.program.stop() == 0


def test_a_signal_to_the_new_one_ends_both(tmp_path: Path) -> None:
    with taking_over(tmp_path, "--start-when", str(tmp_path / "never")) as (old, new):
        eventually(lambda: len(new.children()) == SHARDS, "it starts its shards", START_S)
        os.kill(new.program.pid, signal.SIGTERM)
        assert new.program.wait(START_S) == 0
        assert old.program.wait(START_S) == 0
        assert GOES_ON not in old.program.output


def test_a_new_one_that_hangs_is_waited_for(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with taking_over(tmp_path, "--start-when", str(go)) as (old, new):
        eventually(lambda: len(new.children()) == SHARDS, "it starts its shards", START_S)
        process = psutil.Process(new.program.pid)
        process.suspend()
        with new.client(START_S) as client:  # the old one has the socket, too, and does not answer
            go.touch()
            process.resume()
            assert client.request(Ping()) == Pong(nh.__version__)
        assert old.program.wait(START_S) == 0
