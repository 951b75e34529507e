"""An upgrade whose next nh meets one error of the system behind execve(2): no call and no client is lost."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nh
from nh.client import NativeClient
from nh.commands import Ping
from nh.results import Pong
from tests.survival.test_upgrade import MAX_S, wait_until_upgraded
from tools.harness.command import nh_ok
from tools.harness.deployment import Deployment, assert_goes_on, deployed_relay
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

CALLS = 4

ENDING = ["sqlite3.connect 0 ENOSPC", "mmap.__new__ 0 ENOMEM", "import 0 EMFILE", "import 120 EIO"]
"""Those of the store, of the statistics and of modules, without which no nh starts."""

SWEEP = [f"open {number} {name}" for number in range(16) for name in ("EMFILE", "EIO")]


@pytest.fixture
def error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that says which error the next nh meets."""
    monkeypatch.setenv("TEST_ERROR", str(tmp_path / "error"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "injected_errors"))
    return tmp_path / "error"


@pytest.fixture
def deployment(error: Path, tmp_path: Path) -> Iterator[Deployment]:
    with deployed_relay(state=tmp_path / "state", ng="127.0.0.1:0", interface="a/127.0.0.1") as deployment:
        yield deployment


@pytest.mark.parametrize(
    "errors", [ENDING, pytest.param(SWEEP, marks=pytest.mark.full)], ids=["", "any file"]
)
def test_an_error_of_one_try_ends_nothing(deployment: Deployment, error: Path, errors: list[str]) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    descriptors = 0
    with NativeClient(relay.unix_address, MAX_S) as client:
        for times, each in enumerate(errors, 1):
            before = [relay.call(call.call_id) for call in calls]
            error.write_text(each)
            nh_ok(deployment.place, "upgrade")
            wait_until_upgraded(relay, times)
            assert not error.exists(), "the next nh has taken it"
            assert client.request(Ping()) == Pong(nh.__version__), "its connection is the same"
            for call, then in zip(calls, before, strict=True):
                assert_goes_on(then, relay.call(call.call_id))
                call.talk()
            eventually(lambda: len(relay.shard_processes()) == 2, "no shard is there twice")
            descriptors = descriptors or relay.descriptors()
            assert_not_more_than(descriptors, relay)
    if errors is ENDING:
        assert relay.program.output.count("trying again") == len(ENDING)
    assert [call.end() for call in calls] == [1] * CALLS
    assert relay.program.stop() == 0
    assert sorted(path.name for path in deployment.place.directory.iterdir()) == ["nh.lock"]


def assert_not_more_than(descriptors: int, relay: Relay) -> None:
    eventually(lambda: relay.descriptors() <= descriptors, f"no more than {descriptors} are open")
    assert all(
        child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process(relay.program.pid).children()
    )
