"""nh.shard.load: what a shard measures of its load, and what a load limit refuses."""

import os

import pytest

from nh.calls.settings import RelaySettings
from nh.errors import LimitReached
from nh.shard.load import CpuMeter, LoadMeter, cpu_times
from nh.stats import ShardStats
from tests.calls.fakes import ALICE_AUDIO, BOB_AUDIO, Proxy, make_proxy


class FakeCpu:
    """A CPU with 100 ticks a second.

    Arguments:
        percent: how busy it is from now on.
    """

    def __init__(self) -> None:
        self.percent = 0
        self.busy = self.total = 0

    def pass_one_second(self) -> None:
        self.busy += self.percent
        self.total += 100

    def read(self, cpu: int) -> tuple[float, float] | None:
        return (self.busy, self.total) if cpu == 3 else None


class Shard:
    """A shard whose load is measured, with a clock that the test turns."""

    def __init__(self, settings: RelaySettings) -> None:
        self.proxy: Proxy = make_proxy(settings)
        self.stats = ShardStats(cpu=3)
        self.cpu = FakeCpu()
        self.now = 100.0
        self._meter = LoadMeter(self.stats, self.proxy.table, 0, cpu=CpuMeter(read_cpu=self.cpu.read))
        self.pass_seconds(1)

    def pass_seconds(self, seconds: int, *, percent: int = 0, received_bytes: int = 0) -> None:
        """Let time pass, in which the CPU is so busy, and so much arrives each second."""
        self.cpu.percent = percent
        for _ in range(seconds):
            self.cpu.pass_one_second()
            self.stats.bytes_in += received_bytes
            self.now += 1.0
            self._meter.housekeeping(self.now)

    def takes_calls(self) -> bool:
        call_id = b"call at %d" % self.now
        try:
            self.proxy.offer(ALICE_AUDIO, call_id=call_id)
        except LimitReached:
            return False
        self.proxy.table.close_call(call_id, now=self.proxy.now)
        return True


@pytest.mark.parametrize(
    ("settings", "below", "above", "why"),
    [
        (RelaySettings(max_cpu=80), {"percent": 79}, {"percent": 80}, "max_cpu = 80 is reached: 80 percent"),
        (
            RelaySettings(max_bandwidth=1000),
            {"received_bytes": 999},
            {"received_bytes": 1500},
            "max_bandwidth = 1000 is reached: 1500 bytes a second",
        ),
    ],
    ids=["cpu", "bandwidth"],
)
def test_new_calls_are_refused_while_a_load_limit_is_reached(
    settings: RelaySettings, below: dict[str, int], above: dict[str, int], why: str
) -> None:
    shard = Shard(settings)
    shard.pass_seconds(2, **below)
    shard.proxy.offer(ALICE_AUDIO, call_id=b"known")
    assert (shard.stats.load_percent < 100, shard.stats.at_limit) == (True, 0)

    shard.pass_seconds(1, **above)
    with pytest.raises(LimitReached, match=why) as refused:
        shard.proxy.offer(ALICE_AUDIO, call_id=b"new")
    assert refused.value.setting == why.split(maxsplit=1)[0]
    shard.proxy.answer(BOB_AUDIO, call_id=b"known")
    assert (shard.stats.load_percent >= 100, shard.stats.at_limit) == (True, 1)

    shard.pass_seconds(1, **below)
    assert shard.takes_calls()
    assert shard.stats.at_limit == 0


def test_a_limit_that_is_changed_holds_from_the_next_measurement_on() -> None:
    shard = Shard(RelaySettings(max_cpu=50))
    shard.pass_seconds(1, percent=60)
    assert not shard.takes_calls()
    shard.proxy.table.change_settings(RelaySettings(max_cpu=70), now=shard.proxy.now)
    shard.pass_seconds(1, percent=60)
    assert shard.takes_calls()


def test_load_is_the_use_of_the_closest_limit() -> None:
    shard = Shard(RelaySettings(max_calls=10, max_sockets=100, max_cpu=80))
    for number in range(4):
        shard.proxy.offer(ALICE_AUDIO, call_id=b"%d" % number)
    shard.pass_seconds(1, percent=20)
    assert (shard.stats.cpu_percent, shard.stats.load_percent) == (20, 40)
    shard.pass_seconds(1, percent=60)
    assert shard.stats.load_percent == 75


def test_load_without_limits_is_that_of_the_cpu() -> None:
    shard = Shard(RelaySettings())
    shard.pass_seconds(1, percent=100, received_bytes=10**9)
    assert (shard.stats.load_percent, shard.stats.at_limit) == (100, 0)
    assert shard.takes_calls()


def test_a_shard_without_a_cpu_of_its_own_counts_its_own_time() -> None:
    seconds = iter([0.0, 10.0, 10.0])
    meter = CpuMeter(now=lambda: next(seconds), read_cpu=lambda _cpu: None)
    assert 0 <= meter.percent(-1) <= 100
    assert meter.percent(-1) == 0, "no time has passed"


def test_the_system_tells_the_time_of_each_cpu() -> None:
    cpu = min(os.sched_getaffinity(0))
    before, after = cpu_times(cpu), cpu_times(cpu)
    assert before is not None
    assert after is not None
    assert 0 < before[0] <= before[1]
    assert (after[0] >= before[0], after[1] >= before[1]) == (True, True)
    assert cpu_times(99_999) is None
