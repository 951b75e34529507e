"""nh.supervisor.shards.drain: which shards are told, and when it is over. The clock is the test's."""

import pytest

from nh.errors import Refused
from nh.ipc.link_messages import RefuseNewCalls, TakeNewCalls
from nh.stats import SupervisorStats
from nh.supervisor.shards.drain import RETRY_S, DrainPolicy
from nh.supervisor.shards.handle import Announcement
from tests.supervisor.fake_slots import slots_that_are_up
from tests.supervisor.manual_loop import ManualLoop

SHARDS = 3


class Relay:
    """A drain over shards that the test plays: what they were told is in `told`."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.stats = SupervisorStats()
        self.over: list[str] = []
        self.slots = slots_that_are_up(self.loop, self.stats.shards[:SHARDS])
        self.told: list[tuple[int, Announcement]] = []
        for slot in self.slots:
            slot.told = self.told
        self.drain = DrainPolicy(self.loop, self.slots, stats=self.stats, on_over=self.over.append)

    def empty(self, *shards: int, drain_round: int = 1) -> None:
        for shard in shards:
            self.slots[shard].report_no_calls_left(drain_round)

    def restart(self, shard: int) -> None:
        self.slots[shard].handles[-1].die()
        self.slots[shard].start()
        self.slots[shard].handles[-1].become_ready()


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_it_is_over_when_the_last_shard_has_no_call_left(relay: Relay) -> None:
    relay.drain.begin(None)
    assert relay.told == [(shard, RefuseNewCalls(1)) for shard in range(SHARDS)]
    relay.empty(0, 2)
    assert not relay.over
    relay.empty(1)
    assert relay.over == ["no call is left"]


def test_it_is_over_after_its_limit_whatever_is_left(relay: Relay) -> None:
    relay.drain.begin(60.0)
    assert (relay.stats.draining, relay.drain.left_s) == (1, 60.0)
    relay.loop.advance(59.0)
    assert (relay.over, relay.drain.left_s) == ([], 1.0)
    relay.loop.advance(1.0)
    assert relay.over == ["its limit is over"]
    relay.empty(0, 1, 2)
    assert len(relay.over) == 1


@pytest.mark.parametrize(("limit_s", "left_s"), [(None, None), (100.0, 100.0)])
def test_drained_again_the_last_limit_counts_and_no_shard_is_told_twice(
    relay: Relay, limit_s: float | None, left_s: float | None
) -> None:
    relay.drain.begin(60.0)
    relay.empty(0)
    relay.drain.begin(limit_s)
    assert relay.drain.left_s == left_s
    assert len(relay.told) == SHARDS
    relay.loop.advance(61.0)
    assert not relay.over
    relay.empty(1, 2)
    assert relay.over


def test_taken_back_all_is_as_before(relay: Relay) -> None:
    relay.drain.begin(60.0)
    relay.empty(0, 1)
    relay.drain.take_back()
    assert relay.told[SHARDS:] == [(shard, TakeNewCalls()) for shard in range(SHARDS)]
    assert (relay.stats.draining, relay.stats.drain_deadline, relay.drain.left_s) == (0, 0.0, None)
    relay.empty(2)
    relay.loop.advance(100.0)
    assert not relay.over
    relay.drain.take_back()
    assert len(relay.told) == 2 * SHARDS


def test_what_shards_said_before_it_was_taken_back_does_not_count(relay: Relay) -> None:
    relay.drain.begin(None)
    relay.drain.take_back()
    relay.drain.begin(None)
    relay.empty(*range(SHARDS), drain_round=1)
    assert not relay.over
    relay.empty(*range(SHARDS), drain_round=2)
    assert relay.over


def test_a_shard_that_is_started_again_drains_too(relay: Relay) -> None:
    relay.restart(1)
    assert not relay.told
    relay.drain.begin(None)
    relay.empty(0, 1)
    relay.told.clear()
    relay.restart(1)
    assert relay.told == [(1, RefuseNewCalls(1))]
    relay.empty(2)
    assert not relay.over
    relay.empty(1)
    assert relay.over


def test_a_shard_that_does_not_read_is_told_when_it_does_what_holds_then(relay: Relay) -> None:
    relay.slots[1].deaf = True
    relay.drain.begin(None)
    relay.loop.advance(3 * RETRY_S)
    relay.slots[1].deaf = False
    relay.loop.advance(RETRY_S)
    assert relay.told[-1] == (1, RefuseNewCalls(1))
    relay.slots[1].deaf = True
    relay.drain.take_back()
    relay.slots[1].deaf = False
    relay.loop.advance(RETRY_S)
    assert relay.told[-1:] == [(1, TakeNewCalls())]


def test_it_cannot_be_taken_back_once_it_is_over(relay: Relay) -> None:
    relay.drain.begin(0.0)
    relay.loop.advance(0.0)
    assert relay.over
    with pytest.raises(Refused, match="is ending"):
        relay.drain.take_back()


def test_while_the_store_is_away_new_calls_are_refused_and_nothing_ends(relay: Relay) -> None:
    relay.drain.refuse_without_store(False)
    assert not relay.told
    relay.drain.refuse_without_store(True)
    assert relay.told == [(shard, RefuseNewCalls(0)) for shard in range(SHARDS)]
    relay.empty(0, 1, 2, drain_round=0)
    assert not relay.over
    relay.drain.refuse_without_store(True)
    assert len(relay.told) == SHARDS
    relay.drain.begin(None)
    relay.empty(0, 1, 2)
    assert relay.over


def test_a_drain_and_a_store_that_is_away_end_each_for_itself(relay: Relay) -> None:
    relay.drain.begin(None)
    relay.drain.refuse_without_store(True)
    relay.drain.take_back()
    assert relay.told[-1] == (SHARDS - 1, RefuseNewCalls(0))
    relay.restart(1)
    assert relay.told[-1] == (1, RefuseNewCalls(0))
    relay.drain.refuse_without_store(False)
    assert relay.told[-SHARDS:] == [(shard, TakeNewCalls()) for shard in range(SHARDS)]
