"""nh.shard.ticker: periodic work is done in time, on a busy host too."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from nh.shard import ticker
from nh.shard.ticker import HOUSEKEEPING_S, WATCH_S, Ticker
from tests.shard.test_pacing import FakeLoop, FakePoll


@pytest.mark.parametrize("has_to_watch", [False, True])
def test_a_late_tick_delays_no_other_housekeeping(
    monkeypatch: pytest.MonkeyPatch, has_to_watch: bool
) -> None:
    clock, loop, done = SimpleNamespace(now=100.0), FakeLoop(), list[float]()
    monkeypatch.setattr(ticker, "time", SimpleNamespace(monotonic=lambda: clock.now))
    poll = FakePoll()
    each = Ticker(loop, poll, coalesce_s=0, watch=lambda _: has_to_watch, housekeeping=done.append)
    while clock.now < 110:
        late_s = (0.001, 0.06, 0.002)[len(loop.timers) % 3]
        clock.now += loop.timers[-1].delay_s + late_s
        loop.due()
    assert max(later - first for first, later in pairwise(done)) < HOUSEKEEPING_S + 1.5 * WATCH_S
    assert len(done) == pytest.approx(10 / HOUSEKEEPING_S, abs=1)
    each.stop()
    poll.close()


def test_a_look_that_fails_does_not_end_the_work() -> None:
    def fail(_now: float) -> bool:
        raise RuntimeError("a bug")

    loop, poll, done = FakeLoop(), FakePoll(), list[float]()
    each = Ticker(loop, poll, coalesce_s=0, watch=fail, housekeeping=done.append)
    for timers in (1, 2):
        assert len(loop.timers) == timers
        with pytest.raises(RuntimeError):
            loop.due()
    each.stop()
    poll.close()
