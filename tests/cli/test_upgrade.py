"""nh.cli.upgrade: what is said where no nh replies or serves. Other upgrades are in tests/survival."""

import functools
import itertools
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nh.cli import upgrade
from nh.cli.upgrade import wait_for_successor
from nh.client import NativeClient
from nh.commands import GetStats
from nh.errors import Unavailable
from tools.harness.relay import running_relay
from tools.harness.waiting import TIMEOUT_S, eventually


class Clock:
    """The module `time` of a host where nothing but a pause takes time."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.mark.parametrize("command", [upgrade.upgrade, functools.partial(upgrade.shards, number="2")])
@pytest.mark.parametrize("as_json", [False, True])
def test_where_nh_does_not_reply_it_says_what_it_waits_for(
    command: Callable[..., None],
    as_json: bool,
    rpc_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(upgrade, "SILENT_S", 0.05)
    with ThreadPoolExecutor(1) as threads:
        with socket.socket(socket.AF_UNIX) as stopped_nh:
            stopped_nh.bind(rpc_path)
            stopped_nh.listen()
            outcome = threads.submit(command, rpc=rpc_path, as_json=as_json)
            eventually(
                lambda: (
                    "waiting for a reply of nh; `nh doctor` says whether it hangs" in capsys.readouterr().err
                ),
                "it says so",
            )
        with pytest.raises(Unavailable, match="without a reply"):
            outcome.result()


def test_an_old_nh_that_goes_on_serving_is_given_up_in_time(tmp_path: Path) -> None:
    with running_relay(shards=1) as relay:
        with NativeClient(relay.unix_address, timeout_s=30) as client:
            supervisor = client.request(GetStats()).values["supervisor"]
        assert isinstance(supervisor, dict)
        with pytest.raises(Unavailable, match=r"the old nh still serves after 0\.5 s"):
            wait_for_successor(relay.unix_address, supervisor["started"], tmp_path, patience_s=0.5)


def test_a_new_nh_that_does_not_serve_is_given_up_in_time(rpc_path: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"the new nh does not answer .*start nh again"):
        wait_for_successor(rpc_path, 1.0, tmp_path, patience_s=0.2)


def test_a_new_nh_that_ends_is_given_up_at_once(
    rpc_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = itertools.chain([1234, 1234], itertools.repeat(None))
    monkeypatch.setattr("nh.supervisor.running_nh.running_pid", lambda _: next(pids))
    with pytest.raises(Unavailable, match=r"the new nh has ended; .*start nh again"):
        wait_for_successor(rpc_path, 1.0, tmp_path, patience_s=TIMEOUT_S, ended_s=0.0)


def test_a_new_nh_that_has_ended_and_is_started_again_is_waited_for(
    rpc_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time anew: its second end is long after it was first seen."""
    pids = itertools.chain([1234, None], itertools.repeat(1235, 20), [None], itertools.repeat(1236))
    monkeypatch.setattr("nh.supervisor.running_nh.running_pid", lambda _: next(pids))
    monkeypatch.setattr(upgrade, "time", Clock())
    monkeypatch.setattr(upgrade, "POLL_S", 1.0)
    with pytest.raises(Unavailable, match="the new nh does not answer"):
        wait_for_successor(rpc_path, 1.0, tmp_path, patience_s=60.0, ended_s=10.0)
    assert next(pids) == 1236
