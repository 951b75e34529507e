"""What a service manager is told, and what becomes of it if it does not listen."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.loop import SelectorLoop
from nh.supervisor.host.sd_notify import MAX_WAITING, Notifier, without_notify_socket
from tests.operation.service_manager import ServiceManager, service_manager
from tools.harness.waiting import eventually, turn_until

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path, abstract=request.param == "an abstract name") as manager:
        yield manager


@pytest.fixture
def loop() -> Iterator[SelectorLoop]:
    loop = SelectorLoop()
    yield loop
    loop.close()


def test_a_service_manager_hears_of_the_start_the_state_and_the_end(
    manager: ServiceManager, loop: SelectorLoop
) -> None:
    notifier = Notifier(loop, {"NOTIFY_SOCKET": manager.address})
    notifier.ready("2 shards")
    notifier.status("draining")
    notifier.stopping()
    notifier.close()
    expected = ["READY=1", "STATUS=2 shards", "STATUS=draining", "STOPPING=1", "STATUS=ending"]
    eventually(lambda: manager.lines == expected, "all of it was heard, and no pings that were not asked for")


@pytest.mark.parametrize("of", ["any process", "this process"])
def test_pings_come_as_long_as_the_loop_turns_and_no_longer(
    manager: ServiceManager, loop: SelectorLoop, of: str
) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"}
    if of == "this process":
        environment["WATCHDOG_PID"] = str(os.getpid())
    notifier = Notifier(loop, environment)
    turn_until(loop, lambda: manager.count("WATCHDOG=1") >= 5)
    notifier.close()
    notifier.status("after the end")
    loop.turn(0.05)
    assert not manager.status


@pytest.mark.parametrize(
    "watchdog",
    [
        {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {},
    ],
)
def test_there_are_no_pings_for_another_process_or_for_no_time(
    manager: ServiceManager, loop: SelectorLoop, watchdog: dict[str, str]
) -> None:
    notifier = Notifier(loop, {"NOTIFY_SOCKET": manager.address, **watchdog})
    loop.turn(0.05)
    notifier.status("the only word")
    eventually(lambda: manager.lines == ["STATUS=the only word"], "that alone came")
    notifier.close()


def test_what_a_busy_service_manager_does_not_read_is_said_when_it_does(
    tmp_path: Path, loop: SelectorLoop
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(str(tmp_path / "notify"))
        notifier = Notifier(loop, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        words = [f"STATUS={number}" for number in range(MAX_WAITING)]
        for number in range(MAX_WAITING):
            notifier.status(str(number))
        busy.setblocking(False)
        heard: list[str] = []

        def listen() -> bool:
            try:
                while True:
                    heard.append(busy.recv(1000).decode())
            except BlockingIOError:
                return len(heard) == len(words)

        turn_until(loop, listen)
        assert heard == words
        notifier.close()


@pytest.mark.parametrize("address", ["", "not/absolute", "@"])
def test_without_a_service_manager_nothing_happens(loop: SelectorLoop, address: str) -> None:
    for environment in ({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, {}):
        notifier = Notifier(loop, environment)
        notifier.ready("well")
        notifier.stopping()
        loop.turn(0.01)
        notifier.close()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nh-test-no-listener-here", "/" + "x" * 200])
def test_a_service_manager_that_cannot_be_reached_is_told_of_once(
    loop: SelectorLoop, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(loop, {"NOTIFY_SOCKET": address})
    for _ in range(3):
        notifier.ready("well")
    notifier.close()
    (record,) = caplog.records
    assert "notifying the service manager failed" in record.getMessage()


def test_what_the_supervisor_starts_does_not_speak_for_it() -> None:
    given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert without_notify_socket(given) == {"PATH": "/bin"}
    assert "NOTIFY_SOCKET" in given
