"""nh.supervisor.shards.watchdog: who hangs, and who does not. The clock is the test's."""

from nh.supervisor.shards.watchdog import LOOK_S, Watchdog
from tests.supervisor.manual_loop import ManualLoop


class Ward:
    def __init__(self, hang_s: float = 3.0) -> None:
        self.loop = ManualLoop()
        self.beats: list[float | None] = [1.0, 1.0]
        self.hung: list[int] = []
        self.watch = Watchdog(
            self.loop, 2, lambda shard: self.beats[shard], hang_s=hang_s, on_hang=self.hung.append
        )

    def pass_s(self, seconds: float, *alive: int) -> None:
        for _ in range(round(seconds / LOOK_S)):
            for shard in alive:
                self.beats[shard] = (self.beats[shard] or 0.0) + 1
            self.loop.advance(LOOK_S)


def test_a_shard_whose_heart_stands_still_hangs_and_the_other_does_not() -> None:
    ward = Ward()
    ward.pass_s(3.0, 1)
    assert ward.hung == []
    ward.pass_s(0.5, 1)
    assert ward.hung == [0]


def test_a_late_heartbeat_is_one() -> None:
    ward = Ward()
    for _ in range(5):
        ward.pass_s(2.75, 1)
        ward.pass_s(0.25, 0, 1)
    assert ward.hung == []


def test_a_shard_that_is_not_up_or_never_published_does_not_hang() -> None:
    ward = Ward()
    ward.beats = [None, 0.0]
    ward.pass_s(60.0)
    assert ward.hung == []


def test_a_supervisor_that_was_stopped_itself_takes_nobody_for_dead() -> None:
    ward = Ward()
    ward.pass_s(2.0, 0, 1)
    # the clock goes on, but nobody looks, and the shards are stopped too
    ward.loop.sleep(100.0)
    ward.pass_s(1.0)
    ward.pass_s(5.0, 0, 1)
    assert ward.hung == []


def test_with_zero_nobody_is_watched() -> None:
    ward = Ward(hang_s=0.0)
    ward.pass_s(600.0)
    assert ward.hung == []


def test_after_the_end_nobody_is_watched() -> None:
    ward = Ward()
    ward.watch.close()
    ward.pass_s(60.0)
    assert ward.hung == []
