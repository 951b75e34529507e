"""nh.supervisor.shards.watchdog: which shards hang, and which do not. The clock is the test's."""

import pytest

from nh.stats.layout import ShardStatus
from nh.supervisor.host.cpu_use import CpuUse
from nh.supervisor.shards.watchdog import POLL_S, Watchdog
from tests.supervisor.fake_slots import slots_that_are_up
from tests.supervisor.manual_loop import ManualLoop


class Ward:
    """Two shards that are up; the one of number 1 is killed and not started again where it hangs.

    Args:
        share: what shards that want to run get of a CPU; None: they sleep, or are stopped.
    """

    def __init__(self, hang_s: float = 3.0, *, share: float | None = None) -> None:
        self.loop = ManualLoop()
        self.slots = slots_that_are_up(self.loop, [ShardStatus(), ShardStatus()])
        self.share = share
        self.watchdog = Watchdog(self.loop, self.slots, hang_s=hang_s, read_cpu_use=self._cpu_use)

    def _cpu_use(self, _pid: int) -> CpuUse:
        return CpuUse(self.share is not None, self.loop.now() * (self.share or 0.0))

    @property
    def hung(self) -> list[int]:
        """The number of the shard, for each time that it hung."""
        return [slot.number for slot in self.slots for _ in range(slot.status.hangs)]

    def pass_s(self, seconds: float, *alive: int) -> None:
        for _ in range(round(seconds / POLL_S)):
            for shard in alive:
                self.slots[shard].heartbeat += 1
            self.loop.advance(POLL_S)


def test_a_shard_whose_heartbeat_stands_still_hangs_and_the_other_does_not() -> None:
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
    ward.slots[0].handles[-1].die()
    ward.slots[1].heartbeat = 0
    ward.pass_s(60.0)
    assert ward.hung == []


def test_a_supervisor_that_was_stopped_itself_kills_no_shard() -> None:
    ward = Ward()
    ward.pass_s(2.0, 0, 1)
    # the clock goes on, but it is not polled, and the shards are stopped too
    ward.loop.sleep(100.0)
    ward.pass_s(1.0)
    ward.pass_s(5.0, 0, 1)
    assert ward.hung == []


def test_with_zero_no_shard_is_watched() -> None:
    ward = Ward(hang_s=0.0)
    ward.pass_s(600.0)
    assert ward.hung == []


def test_after_the_end_no_shard_is_watched() -> None:
    ward = Ward()
    ward.watchdog.close()
    ward.pass_s(60.0)
    assert ward.hung == []


def test_a_shard_that_is_starting_does_not_hang() -> None:
    ward = Ward()
    ward.slots[0].handles[-1].die()
    ward.slots[0].start()
    ward.pass_s(60.0, 1)
    assert ward.hung == []


def test_a_shard_that_waits_for_a_cpu_does_not_hang_however_long_that_takes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ward = Ward(share=0.001)
    ward.pass_s(20.0, 1)
    ward.pass_s(5.0, 0, 1)
    assert ward.hung == []
    (line,) = caplog.messages
    assert line.startswith("shard 0 (pid 100) shows no life for 3 s because it waits for a CPU: it goes on; ")


@pytest.mark.parametrize(("share", "after_s"), [(1.0, 3.0), (0.5, 3.0), (0.1, 9.0)])
def test_a_shard_that_runs_and_shows_no_life_hangs_once_it_had_time_enough(
    share: float, after_s: float
) -> None:
    ward = Ward(share=share)
    ward.pass_s(after_s - 0.3, 1)
    assert ward.hung == []
    ward.pass_s(0.6, 1)
    assert ward.hung == [0]


def test_a_shard_that_was_late_before_has_its_whole_time_again() -> None:
    ward = Ward(share=0.1)
    ward.pass_s(8.0, 1)
    ward.pass_s(0.5, 0, 1)
    ward.pass_s(8.0, 1)
    assert ward.hung == []


def test_a_shard_that_runs_hangs_also_if_its_time_becomes_shorter_meanwhile() -> None:
    ward = Ward(hang_s=20.0, share=1.0)
    ward.pass_s(9.0, 1)
    ward.watchdog.hang_s = 3.0
    ward.pass_s(1.5, 1)
    assert ward.hung == [0]
