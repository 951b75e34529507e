"""A bug that one step of the supervisor meets costs no call, and leaves no supervisor that serves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nh
from nh.client import NativeClient
from nh.commands import Ping
from nh.results import Pong
from tests.survival.test_upgrade import MAX_S
from tools.harness.command import nh as run_nh
from tools.harness.deployment import Deployment, assert_goes_on, deployed_relay
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

CALLS = 4


@pytest.fixture
def deployment(bug: Path) -> Iterator[Deployment]:
    with deployed_relay() as deployment:
        yield deployment


def serves(relay: Relay) -> bool:
    with NativeClient(relay.unix_address, MAX_S) as client:
        return client.request(Ping()) == Pong(nh.__version__)


def test_a_supervisor_that_cannot_serve_ends_so_that_its_service_manager_starts_it_again(
    deployment: Deployment, bug: Path
) -> None:
    bug.write_text("Ownership.start")
    assert deployment.launch().program.wait(MAX_S) == 1
    assert not bug.exists()
    assert serves(deployment.start())


def test_what_a_supervisor_that_serves_cannot_tell_ends_nothing(deployment: Deployment, bug: Path) -> None:
    bug.write_text("_load_statistics")
    assert serves(deployment.start())
    eventually(lambda: not bug.exists(), "the bug was met")


@pytest.mark.parametrize(
    "function",
    [
        pytest.param("collect_handover_state", id="while the supervisor hands over"),
        pytest.param("send_state", id="where it sends what it hands over"),
        pytest.param("Rpc.serve", id="where the next one begins to serve"),
    ],
)
def test_calls_go_on_over_an_upgrade_that_meets_a_bug(
    deployment: Deployment, bug: Path, function: str
) -> None:
    if function != "Rpc.serve":
        bug.write_text(function)
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    before = [relay.call(call.call_id) for call in calls]
    pids = {shard.pid for shard in relay.stats().shards}
    if not bug.exists():
        bug.write_text(function)
    run_nh(deployment.place, "upgrade")
    eventually(lambda: not bug.exists(), "the bug was met")
    eventually(
        lambda: not pids & {shard.pid for shard in relay.stats().shards} and relay.stats().supervisor.serving,
        "the next supervisor serves, with shards of its own",
        MAX_S,
    )
    assert serves(relay)
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, relay.call(call.call_id))
        call.talk()
    eventually(lambda: len(relay.shard_processes()) == 2, "no shard is there twice")
    assert [call.end() for call in calls] == [1] * CALLS
    assert relay.program.stop() == 0


def test_a_takeover_that_meets_a_bug_leaves_the_calls_to_the_supervisor_before(
    deployment: Deployment, bug: Path
) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    first = len(relay.program.lines)
    bug.write_text("Ownership.start")
    assert deployment.launch("--takeover").program.wait(MAX_S) == 1
    eventually(
        lambda: any(line.startswith("ready: ") for line in relay.program.lines[first:]),
        "the supervisor before goes on",
        MAX_S,
    )
    for call in calls:
        call.talk()
    assert [call.end() for call in calls] == [1] * CALLS


def test_what_a_supervisor_that_was_taken_over_cannot_close_does_not_keep_it_from_its_end(
    deployment: Deployment, bug: Path
) -> None:
    bug.write_text("Handover._close_handed_over")
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    new = deployment.start("--takeover")
    assert old.program.wait(MAX_S) == 0
    assert not bug.exists()
    assert serves(new)
    assert [call.end() for call in calls] == [1] * CALLS


def test_a_shard_is_started_again_whatever_its_death_meets(deployment: Deployment, bug: Path) -> None:
    bug.write_text("SlotRecovery.died")
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    before = relay.stats().shards[0].pid
    (process,) = (each for each in relay.shard_processes() if each.pid == before)
    process.kill()
    eventually(lambda: relay.stats().shards[0].pid not in (0, before), "its successor is up")
    assert not bug.exists()
    for call in calls:
        call.talk()
    assert [call.end() for call in calls] == [1] * CALLS
