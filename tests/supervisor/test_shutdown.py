"""nh.supervisor.shutdown: a run ends once, whatever asks for it, and with which status."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from nh.supervisor.shutdown import ShutdownController


class Run:
    """A run whose parts the test plays; `done` is what was done, in order."""

    def __init__(self, *, groups: tuple[str, ...] = ()) -> None:
        self.done: list[str] = []
        self.orphans: Any
        self.orphans = SimpleNamespace(pending=False)
        self.runtime: Any
        self.runtime = SimpleNamespace(
            settings=SimpleNamespace(groups=groups, on_demote=""),
            notifier=SimpleNamespace(stopping=lambda: self.done.append("systemd is told")),
            storage=SimpleNamespace(
                deadline=SimpleNamespace(set_past=lambda: self.done.append("the deadline is past")),
                group="",
                announce_end=lambda: None,
            ),
            loop=SimpleNamespace(stop=lambda: self.done.append("the loop stops")),
            stats=None,
        )
        self.shutdown = ShutdownController(
            self.runtime,
            self.orphans,
            end=lambda: self.done.append("the shards end"),
            kill=lambda: self.done.append("the shards are killed"),
        )


def test_the_first_signal_gives_the_shards_time_and_the_second_kills_them() -> None:
    run = Run()
    run.shutdown.on_signal(signal.SIGTERM)
    assert run.done == ["systemd is told", "the shards end"]
    run.shutdown.on_signal(signal.SIGINT)
    assert run.done[2:] == ["the shards are killed"]
    run.shutdown.on_stopped()
    assert run.done[3:] == ["the loop stops"]
    assert run.shutdown.status == 0


def test_it_ends_once_whatever_else_asks_for_it() -> None:
    run = Run()
    run.shutdown.on_drained("no calls are left")
    done = list(run.done)
    run.shutdown.on_drained("the time is over")
    run.shutdown.on_calls_lost("another relay has them")
    run.shutdown.begin()
    assert run.done == done
    assert run.shutdown.status == 0


def test_a_signal_during_a_takeover_waits_until_the_calls_are_restored_and_a_second_one_does_not() -> None:
    run = Run()
    run.orphans.pending = True
    run.shutdown.on_signal(signal.SIGTERM)
    assert (run.shutdown.wanted, run.done) == (True, [])
    run.shutdown.on_signal(signal.SIGTERM)
    assert run.done == ["systemd is told", "the shards end"]


def test_shards_that_do_not_start_are_a_failure() -> None:
    run = Run()
    run.shutdown.on_given_up("shard 0 died")
    assert (run.shutdown.status, run.done) == (1, ["systemd is told", "the shards end"])


@pytest.mark.parametrize("groups", [(), ("calls",)])
def test_a_relay_that_lost_its_calls_kills_its_shards_and_does_not_go_on(groups: tuple[str, ...]) -> None:
    run = Run(groups=groups)
    run.shutdown.on_calls_lost("another relay has them")
    assert run.done == [
        *("the deadline is past", "systemd is told", "the shards end"),
        "the shards are killed",
    ]
    assert (run.shutdown.status, run.shutdown.becomes_standby) == (1, False)


def test_a_relay_that_gave_its_calls_away_becomes_a_standby_unless_it_is_told_to_end() -> None:
    run = Run(groups=("calls",))
    run.shutdown.demoted = True
    run.shutdown.begin()
    assert (run.done, run.shutdown.becomes_standby) == (["the shards end"], True)
    run.shutdown.on_signal(signal.SIGTERM)
    assert not run.shutdown.becomes_standby


def test_a_relay_that_lost_its_calls_kills_its_shards_whatever_its_end_meets() -> None:
    run = Run()

    def fail() -> None:
        raise RuntimeError("a bug")

    shutdown = ShutdownController(
        run.runtime, run.orphans, end=fail, kill=lambda: run.done.append("the shards are killed")
    )
    shutdown.on_calls_lost("another relay has them")
    assert run.done == ["the deadline is past", "systemd is told", "the shards are killed"]
