"""nh shards: more and fewer of them, with live calls."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, TransactionKey
from nh.results import CallDetail
from nh.supervisor.shards.routing import shard_of
from tests.profiles import quick_first
from tests.survival.speech import Speech
from tools.harness.call import RelayedCall
from tools.harness.command import nh, nh_ok
from tools.harness.deployment import SHARDS, Deployment, assert_goes_on, calls_of, deployed_relay
from tools.harness.relay import Relay
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 6


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed_relay() as deployment:
        yield deployment


def details(relay: Relay, calls: list[RelayedCall]) -> list[CallDetail]:
    return [relay.call(call.call_id) for call in calls]


def assert_all_go_on(relay: Relay, calls: list[RelayedCall], before: list[CallDetail]) -> None:
    for then, now in zip(before, details(relay, calls), strict=True):
        assert_goes_on(then, now)
    for call in calls:
        call.talk()


def session_ids(relay: Relay) -> list[int]:
    found = relay.calls().calls
    return [session.sessionid for call in found for session in relay.call(call.call_id).sessions]


def new_call_for(deployment: Deployment, shard: int, shards: int, prefix: bytes) -> RelayedCall:
    taken = {call.call_id for call in deployment.relay.calls().calls}
    names = (prefix + b"-%d" % number for number in itertools.count())
    return deployment.make_call(
        next(name for name in names if name not in taken and shard_of(name, shards) == shard)
    )


def test_calls_stay_where_they_are_and_new_ones_go_to_the_new_shards(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    before = details(relay, calls)
    assert "runs with 3 shards; 6 calls go on" in nh_ok(deployment.place, "shards", "3").stdout
    assert_all_go_on(relay, calls, before)
    assert [now.shard for now in details(relay, calls)] == [then.shard for then in before]
    fresh = [new_call_for(deployment, shard, 3, b"new") for shard in range(3)]
    assert [now.shard for now in details(relay, fresh)] == [0, 1, 2]
    assert {call.call_id for call in relay.calls().calls} == {call.call_id for call in (*calls, *fresh)}
    assert [call.end() for call in (*calls, *fresh)] == [1] * (CALLS + 3)
    eventually(relay.all_ports_are_free, "all ports are free")


def test_with_fewer_shards_the_others_take_the_calls(deployment: Deployment) -> None:
    relay = deployment.start(shards=3)
    calls = deployment.make_calls(CALLS, shards=3)
    before = details(relay, calls)
    assert {call.shard for call in before} == {0, 1, 2}
    assert "runs with 1 shard; 6 calls go on" in nh_ok(deployment.place, "shards", "1").stdout
    assert_all_go_on(relay, calls, before)
    assert {call.shard for call in details(relay, calls)} == {0}
    assert len(relay.shard_processes()) >= 1
    assert calls.pop().close_by_operator() == 1
    assert [call.end() for call in calls] == [1] * (CALLS - 1)
    eventually(relay.all_ports_are_free, "all ports are free")


@pytest.mark.full
def test_a_call_is_found_wherever_it_is_again_and_again(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    for cseq, shards in enumerate((4, 3, 1, 2), 10):
        before = details(relay, calls)
        said = json.loads(nh_ok(deployment.place, "shards", str(shards), "--json").stdout)
        assert (said["shards"], said["calls"]) == (shards, len(calls))
        assert_all_go_on(relay, calls, before)
        with NativeClient(deployment.address, TIMEOUT_S) as client:  # a re-INVITE
            media = (Media("127.0.0.1", calls[0].alice.port, 2, "RTP/AVP", "audio"),)
            key = TransactionKey(calls[0].call_id, cseq, b"alice", b"bob")
            client.request(Allocate(key, Side.FROM, "127.0.0.1", media))
        calls.append(new_call_for(deployment, 0, shards, b"with %d" % shards))
        assert relay.stats().totals.calls_lost == 0
    assert len(relay.calls().calls) == len(calls)
    for call in calls:
        assert call.end() == 1


@pytest.mark.full
def test_sessions_never_have_the_same_number(deployment: Deployment) -> None:
    relay = deployment.start(shards=2, silent_s=3600)  # a busy host takes minutes
    calls = deployment.make_calls(CALLS)
    for shards in (3, 2, 4, 1):
        nh_ok(deployment.place, "shards", str(shards))
        calls += [new_call_for(deployment, number % shards, shards, b"of %d" % shards) for number in range(4)]
        numbers = session_ids(relay)
        assert len(numbers) == len(calls)
        assert len(set(numbers)) == len(numbers), sorted(numbers)


@pytest.mark.full
def test_calls_that_came_from_elsewhere_outlive_their_shard(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    nh_ok(deployment.place, "shards", "1")
    nh_ok(deployment.place, "shards", "2")
    before = details(relay, calls)
    assert {call.shard for call in before} == {0}
    shard = relay.stats().shards[0].pid
    (process,) = (each for each in relay.shard_processes() if each.pid == shard)
    process.kill()
    eventually(lambda: relay.stats().shards[0].pid not in (0, shard), "its successor is up")
    for call, then in zip(calls, before, strict=True):
        call.talk()
        assert relay.call(call.call_id).groups[0].local_ports == then.groups[0].local_ports
        assert call.end() == 1


@pytest.mark.full
def test_calls_that_came_from_elsewhere_outlive_their_supervisor(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    nh_ok(deployment.place, "shards", "1")
    before = details(relay, calls)
    deployment.kill_supervisor()
    relay = deployment.start(shards=SHARDS)
    assert_all_go_on(relay, calls, before)
    for call in calls:
        assert call.end() == 1


@pytest.mark.full
def test_calls_are_restored_once_when_the_shard_that_they_hash_to_died_with_its_supervisor(
    tmp_path: Path,
) -> None:
    with deployed_relay(state=tmp_path) as deployment:
        relay = deployment.start()
        calls = [new_call_for(deployment, 2, 3, b"at home in shard 2") for _ in range(CALLS)]
        nh_ok(deployment.place, "shards", "3")
        before = details(relay, calls)
        assert 2 not in {call.shard for call in before}
        eventually(lambda: relay.stats().supervisor.store_pending == 0, "all is stored")
        deployment.kill_supervisor()  # shard 2 ends with it: it has no calls
        relay = deployment.start(shards=3)
        assert sorted(call.call_id for call in relay.calls().calls) == sorted(call.call_id for call in calls)
        assert_all_go_on(relay, calls, before)
        assert [call.end() for call in calls] == [1] * CALLS
        eventually(lambda: relay.stats().totals.calls == 0, "there is no second one of any")
        eventually(relay.all_ports_are_free, "all ports are free")


@pytest.mark.kernel
@pytest.mark.parametrize("shards", quick_first([3, 1]))
def test_what_the_kernel_relays_while_calls_move_to_other_maps_arrives_and_is_in_their_counts(
    shards: int,
) -> None:
    with deployed_relay(kernel="on", kernel_interface="lo", silent_s=3600) as deployment:
        relay = deployment.start()
        calls = deployment.make_calls(CALLS)
        with Speech(calls) as speech:
            for number in (shards, SHARDS):
                nh_ok(deployment.place, "shards", str(number))

        def counts() -> list[tuple[bool, int, int]]:
            legs = [detail.sessions[0].pairs[0].from_ for detail in details(relay, calls)]
            return [(leg.kernel, each.lost, each.packets) for leg in legs for each in leg.streams[-1:]]

        eventually(
            lambda: speech.listen() == [speech.sent] * CALLS,
            "the callees have received all packets",
            details=lambda: f"sent: {speech.sent} packets of each; received: {speech.heard}",
        )
        eventually(
            lambda: counts() == [(True, 0, speech.sent)] * CALLS,
            "the kernel relays all calls, and none of their packets is missing",
            details=lambda: f"sent: {speech.sent} packets of each; in the kernel, lost, received: {counts()}",
        )
        pairs = [pair for detail in details(relay, calls) for pair in detail.sessions[0].pairs]
        packets = sum(pair.from_.packets + pair.to.packets for pair in pairs)
        eventually(lambda: relay.stats().totals.packets_in >= packets, "the shards have counted no less")


@pytest.mark.full
def test_a_number_of_shards_lasts_until_the_next_change(deployment: Deployment) -> None:
    relay = deployment.start()
    nh_ok(deployment.place, "shards", "3")
    assert "runs with 3 shards" in nh_ok(deployment.place, "upgrade").stdout
    assert "runs with 1 shard;" in nh_ok(deployment.place, "shards", "1").stdout
    assert relay.program.stop() == 0
    assert len(deployment.start().stats().shards) == SHARDS


@pytest.mark.parametrize("number", ["0", "257", "-1", "many"])
def test_numbers_that_cannot_be_are_refused_by_the_command_line(deployment: Deployment, number: str) -> None:
    assert nh(deployment.place, "shards", "--", number).exit_code == 2


def test_each_shard_has_calls_that_hash_to_it() -> None:
    """What the other tests build on."""
    for shard in range(3):
        assert {shard_of(name, 3) for name in itertools.islice(calls_of(shard, 3), 10)} == {shard}
