"""Another program removes what nh has in its runtime directory: nh makes it anew, and no call is harmed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import Ping
from nh.results import Pong
from nh.supervisor.handover.receive import NAME
from nh.version import __version__
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 3


def empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed_relay(state=tmp_path) as deployment:
        deployment.start()
        yield deployment


def files(deployment: Deployment) -> set[str]:
    directory = deployment.place.directory
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


@pytest.mark.parametrize("remove", [empty, shutil.rmtree])
def test_an_nh_whose_runtime_directory_was_emptied_is_reached_again_and_its_clients_stay(
    deployment: Deployment, remove: Callable[[Path], None]
) -> None:
    """Also by the next supervisor: a takeover, and a start after a kill of everything, have all calls."""
    calls = deployment.make_calls(CALLS)
    before = files(deployment)
    assert NAME in before
    with NativeClient(deployment.address, TIMEOUT_S) as client:
        client.request(Ping())
        remove(deployment.place.directory)
        eventually(lambda: files(deployment) >= before, "each file is there again")
        assert client.request(Ping()) == Pong(__version__)
        with NativeClient(deployment.address, TIMEOUT_S) as new:
            assert new.request(Ping()) == Pong(__version__)
    deployment.take_over()
    for call in calls:
        call.talk()
    deployment.kill_everything()
    deployment.start()
    for call in calls:
        call.talk()
