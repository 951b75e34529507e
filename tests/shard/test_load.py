"""nh.shard.load: what a shard measures of its load, and what a load limit refuses."""

import os

import pytest

from nh.calls.settings import RelaySettings
from nh.errors import LimitReached, PortsExhausted, SocketsExhausted
from nh.shard.limit_log import FORGET_S, LimitLog
from nh.shard.load import CpuMeter, LoadMeter, cpu_times
from nh.stats import ShardStats
from nh.stats.layout import LIMITS
from tests.calls.fakes import ALICE_AUDIO, BOB_AUDIO, Proxy, make_proxy


class FakeCpu:
    """A CPU with 100 ticks a second.

    Args:
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
        self.limits = LimitLog(0, lambda: self.now)
        cpu = CpuMeter(read_cpu=self.cpu.read)
        self._meter = LoadMeter(self.stats, self.proxy.table, self.limits, cpu=cpu)
        self.pass_seconds(1)

    def pass_seconds(self, seconds: int, *, percent: int = 0, received_bytes: int = 0) -> None:
        """Let time pass, in which the CPU is so busy, and so much arrives each second."""
        self.cpu.percent = percent
        for _ in range(seconds):
            self.cpu.pass_one_second()
            self.stats.bytes_in += received_bytes
            self.now += 1.0
            self._meter.housekeeping(self.now)

    def limits_reached(self) -> set[str]:
        """The gauges at_… that are not 0, without at_."""
        return {name for name in ("limit", *LIMITS) if getattr(self.stats, f"at_{name}")}

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
            "max_bandwidth is reached: this shard receives 1500 bytes a second, its share is 1000",
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
    assert (shard.stats.load_percent >= 100, shard.limits_reached()) == (
        True,
        {"limit", why.split(maxsplit=1)[0]},
    )

    shard.pass_seconds(1, **below)
    assert shard.takes_calls()
    assert shard.stats.at_limit == 0


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            RelaySettings(max_calls=2),
            "max_calls is reached: this shard has its share of it, 2; raise max_calls, ",
        ),
        (
            RelaySettings(max_sockets=4),
            "max_sockets is reached: this shard has its share of it, 4; raise max_socke",
        ),
        (
            RelaySettings(max_cpu=50),
            "max_cpu = 50 is reached: 60 percent of this shard's CPU are busy; give nh",
        ),
    ],
    ids=["calls", "sockets", "cpu"],
)
def test_a_limit_is_logged_when_it_is_reached_and_when_it_is_over(
    settings: RelaySettings, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    shard = Shard(settings)
    for number in range(2):
        shard.proxy.offer(ALICE_AUDIO, call_id=b"%d" % number)
    shard.pass_seconds(30, percent=60)
    name = line.split(maxsplit=1)[0]
    assert shard.limits_reached() == {"limit", name}
    [reached] = caplog.messages
    assert reached.startswith(f"shard 0 refuses new calls, those that it has go on: {line}")
    shard.proxy.table.close_call(b"1", now=shard.proxy.now)
    shard.pass_seconds(30)
    assert shard.limits_reached() == set()
    assert caplog.messages[1:] == [f"shard 0 has room again ({name}); it had refused 0 requests"]


def test_want_of_ports_is_a_limit_until_a_call_gets_some() -> None:
    shard = Shard(RelaySettings())
    shard.limits.refused(PortsExhausted("no ports"))
    shard.pass_seconds(5)
    assert shard.limits_reached() == {"limit", "ports"}
    shard.limits.granted()
    shard.pass_seconds(1)
    assert shard.limits_reached() == set()
    shard.limits.refused(SocketsExhausted("no descriptors"))
    shard.pass_seconds(1)
    assert shard.limits_reached() == {"limit", "descriptors"}
    shard.pass_seconds(round(FORGET_S))
    assert shard.limits_reached() == set(), "no call has come, so it is not known"


def test_max_sockets_is_reached_where_the_rest_of_its_share_is_too_few_for_a_call() -> None:
    shard = Shard(RelaySettings(max_sockets=5))
    for number in range(2):
        shard.proxy.offer(ALICE_AUDIO, call_id=b"%d" % number)
    shard.pass_seconds(1)
    assert shard.limits_reached() == set()
    with pytest.raises(LimitReached) as refused:
        shard.proxy.offer(ALICE_AUDIO, call_id=b"new")
    shard.limits.refused(refused.value)
    shard.pass_seconds(1)
    assert shard.limits_reached() == {"limit", "max_sockets"}
    shard.pass_seconds(10)
    assert shard.limits_reached() == set()


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
