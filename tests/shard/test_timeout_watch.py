"""nh.shard.observers.timeout_watch: which calls have timed out, and which have ended otherwise."""

import dataclasses

import pytest

from nh.calls.timeouts import TimeoutTarget
from nh.ipc.report_messages import MediaTimedOut
from nh.shard.observers.timeout_watch import TimeoutWatch
from tests.calls.fakes import make_proxy
from tests.calls.ng_proxy import A_AUDIO, A_HELD, B_AUDIO, C_AUDIO, A, B, C, NgProxy, make_ng_proxy
from tests.calls.snapshots import move_calls


@dataclasses.dataclass
class Watched:
    proxy: NgProxy
    found: list[MediaTimedOut]

    def wait(self, seconds: float) -> None:
        """Time passes, in which what is due expires."""
        self.proxy.now += seconds
        self.proxy.table.expire(now=self.proxy.now)


@pytest.fixture
def watched() -> Watched:
    return watch(make_ng_proxy())


def watch(proxy: NgProxy) -> Watched:
    found: list[MediaTimedOut] = []
    proxy.table.resources.events.add(TimeoutWatch(proxy.table, found.append))
    return Watched(proxy, found)


def connect(watched: Watched) -> None:
    watched.proxy.offer(A_AUDIO)
    watched.proxy.answer(B_AUDIO)
    for session in watched.proxy.plane.running:
        session.legs[0].packets += 3


def test_silence_is_a_timeout_and_comes_once(watched: Watched) -> None:
    connect(watched)
    watched.wait(20)
    assert watched.found == []
    watched.wait(200)
    (timed_out,) = watched.found
    assert (timed_out.ends, timed_out.reason, timed_out.packets) == (((A, B),), "expired", 3)
    watched.wait(200)
    assert len(watched.found) == 1


def test_a_call_that_is_deleted_has_not_timed_out(watched: Watched) -> None:
    connect(watched)
    watched.proxy.delete()
    watched.wait(200)
    assert watched.found == []


def test_a_call_that_falls_silent_before_its_delayed_delete_has_not_timed_out(watched: Watched) -> None:
    connect(watched)
    watched.wait(1)
    watched.proxy.delete(delay_s=60)
    watched.wait(40)
    watched.wait(40)
    assert not watched.proxy.table
    assert watched.found == []


def test_an_offer_without_an_answer_has_not_timed_out(watched: Watched) -> None:
    watched.proxy.offer(A_AUDIO)
    watched.wait(1000)
    assert not watched.proxy.table
    assert watched.found == []


def test_one_dialog_that_falls_silent_is_no_timeout_of_the_call(watched: Watched) -> None:
    connect(watched)
    watched.wait(20)
    watched.proxy.offer(A_AUDIO, tag=C)
    watched.proxy.answer(C_AUDIO, tag=B, to=C)
    for session in watched.proxy.plane.running:
        if session.group_from.id == C:
            session.legs[0].packets += 3
    watched.wait(15)
    assert watched.proxy.table
    watched.proxy.delete()
    assert watched.found == []


def test_the_target_is_in_the_report_and_survives_the_shard(watched: Watched) -> None:
    connect(watched)
    (call,) = watched.proxy.table
    call.timeout_target = TimeoutTarget("unix:/run/t", b"T1", "127.0.0.1")
    after = watch(make_ng_proxy())
    after.proxy.now = watched.proxy.now
    move_calls(watched.proxy.table, after.proxy.table, now=watched.proxy.now)
    after.wait(1)  # the packets are new to it
    after.wait(200)
    assert [each.target for each in after.found] == [TimeoutTarget("unix:/run/t", b"T1", "127.0.0.1")]


def test_a_call_of_net_sips_times_out_too() -> None:
    proxy = make_proxy()
    found: list[MediaTimedOut] = []
    proxy.table.resources.events.add(TimeoutWatch(proxy.table, found.append))
    session = proxy.connect()
    for seconds in (1, 200, 10):
        proxy.now += seconds
        proxy.table.expire(now=proxy.now)
    assert not proxy.table
    assert [each.ends for each in found] == [((session.group_from.id, session.group_to.id),)]


def test_a_call_on_hold_has_its_own_time(watched: Watched) -> None:
    connect(watched)
    watched.proxy.offer(A_HELD, to=B)
    watched.proxy.answer(B_AUDIO)
    watched.wait(200)
    assert watched.found == []
    watched.wait(4000)
    assert [each.reason for each in watched.found] == ["hold"]
