"""nh.supervisor under a service manager: the whole supervisor as a process, which tells how it goes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, Drain, TransactionKey, Undrain
from tests.operation.service_manager import ServiceManager, service_manager
from tests.supervisor.test_run import SHARDS, Run, running
from tools.harness.relay import running_relay
from tools.harness.valkey_server import valkey_server
from tools.harness.waiting import TIMEOUT_S, eventually

WATCHDOG_S = 0.6


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
        yield manager


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_it_is_ready_when_all_shards_are_up_and_not_before(manager: ServiceManager, directory: Path) -> None:
    go = directory.parent / "go"
    run = Run(directory, "--start-when", str(go))
    with run.program:
        eventually(lambda: len(run.children()) == SHARDS, "its shards are started")
        eventually(lambda: manager.count("WATCHDOG=1") > 2, "it shows life while they start")
        assert "READY=1" not in manager.lines
        go.touch()
        eventually(lambda: "READY=1" in manager.lines, "it is ready")
        assert manager.status.startswith("2 shards on CPU")
        assert run.is_up(0)
        assert run.is_up(1)


@pytest.mark.full
def test_a_supervisor_that_is_stopped_shows_no_life_until_it_goes_on(
    manager: ServiceManager, directory: Path
) -> None:
    with running(directory) as run:
        supervisor = psutil.Process(run.program.pid)
        seen = manager.count("WATCHDOG=1")
        eventually(lambda: manager.count("WATCHDOG=1") > seen + 3, "it shows life again and again")
        supervisor.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: manager.silence_s > WATCHDOG_S, "a service manager would think that it hangs")
            seen = manager.count("WATCHDOG=1")
        finally:
            supervisor.send_signal(signal.SIGCONT)
        eventually(lambda: manager.count("WATCHDOG=1") > seen, "it shows life again")


def test_it_says_that_it_drains_that_it_does_not_any_more_and_that_it_ends(manager: ServiceManager) -> None:
    with running_relay(shards=1) as relay:
        with NativeClient(relay.unix_address, TIMEOUT_S) as client:
            a_call = Allocate(
                TransactionKey(b"call", 1, b"a"), Side.FROM, "127.0.0.1", (Media("127.0.0.1", 4000, 2),)
            )
            client.request(a_call)  # as long as there is one, a drain is not over
            client.request(Drain())
            eventually(lambda: manager.status.startswith("draining"), "it says that it drains")
            client.request(Undrain())
            eventually(lambda: manager.status.startswith("1 shard on CPU"), "it says that it serves as ever")
        assert "STOPPING=1" not in manager.lines
        assert relay.program.stop() == 0
    eventually(lambda: "STOPPING=1" in manager.lines, "it says that it ends")
    assert manager.status == "ending"


def test_shards_do_not_speak_for_the_supervisor(manager: ServiceManager, directory: Path) -> None:
    with running(directory) as run:
        assert "NOTIFY_SOCKET" in psutil.Process(run.program.pid).environ()
        for shard in run.children():
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(shard.environ())


@pytest.mark.valkey
def test_it_says_why_calls_are_not_stored_until_they_are(manager: ServiceManager) -> None:
    with (
        valkey_server() as server,
        running_relay(shards=1, state=f"{server.url}/0") as relay,
        server.client() as client,
    ):
        eventually(lambda: manager.status.startswith("1 shard on CPU"), "it serves")
        client.config_set("min-replicas-to-write", 1)
        why = "calls are not stored: "
        eventually(lambda: manager.status.startswith(why), "it says so")
        assert "1 shard on CPU" in manager.status
        client.config_set("min-replicas-to-write", 0)
        eventually(lambda: manager.status.startswith("1 shard on CPU"), "it says that all is well")
        assert relay.program.stop() == 0
