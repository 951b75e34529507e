"""nh.shard.recovery.clocks: how old what was stored is, whatever happened to the clocks meanwhile."""

import time
from pathlib import Path

import pytest

from nh.calls.snapshots.call import Clock
from nh.shard.recovery import clocks
from nh.shard.recovery.clocks import boot_id, clock_at, shift_since

THIS_BOOT, OTHER_BOOT = b"this boot......!", b"another boot...!"
DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0

THEN = Clock(1000.0, 1e9, THIS_BOOT)


def age_s(then: Clock, now: Clock) -> float:
    """How long ago, by the clock of now, was the moment at which a snapshot was taken."""
    return now.monotonic - (then.monotonic + shift_since(then, now))


@pytest.mark.parametrize("jump_s", [0.0, YEAR_S, -DAY_S, -2e9])
def test_within_one_boot_only_the_monotonic_clock_counts(jump_s: float) -> None:
    now = Clock(1020.0, 1e9 + 20 + jump_s, THIS_BOOT)
    assert shift_since(THEN, now) == 0.0
    assert age_s(THEN, now) == 20.0


def test_after_another_boot_the_wall_clock_tells_how_long_the_host_was_down() -> None:
    assert age_s(THEN, Clock(5.0, 1e9 + 20, OTHER_BOOT)) == 20.0
    assert age_s(THEN, Clock(90_000.0, 1e9 + 20, OTHER_BOOT)) == 20.0


@pytest.mark.parametrize("jump_s", [-DAY_S, -YEAR_S, -1e9])
def test_a_wall_clock_that_went_back_means_that_no_time_has_passed(jump_s: float) -> None:
    assert age_s(THEN, Clock(5.0, 1e9 + 20 + jump_s, OTHER_BOOT)) == 0.0


def test_a_wall_clock_that_jumped_forward_is_like_a_long_stop() -> None:
    assert age_s(THEN, Clock(5.0, 1e9 + YEAR_S, OTHER_BOOT)) == YEAR_S


def test_what_says_nothing_of_its_boot_goes_by_the_wall() -> None:
    then = Clock(1000.0, 1e9)
    assert age_s(then, Clock(1020.0, 1e9 + 20, THIS_BOOT)) == 20.0
    assert age_s(then, Clock(1020.0, 1e9 + 300)) == 300.0


def test_a_monotonic_clock_that_went_back_is_another_one() -> None:
    assert age_s(THEN, Clock(5.0, 1e9 + 20, THIS_BOOT)) == 20.0


def test_the_clock_of_now_is_of_this_boot() -> None:
    clock = clock_at(time.monotonic())
    assert len(clock.boot) == 16
    assert clock.boot.hex() == clocks.BOOT_ID.read_text().strip().replace("-", "")
    assert abs(clock.wall - time.time()) < 60


@pytest.mark.parametrize("text", [None, "", "not an id"])
def test_a_system_that_does_not_tell_its_boot(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "boot_id").write_text(text)
    monkeypatch.setattr(clocks, "BOOT_ID", tmp_path / "boot_id")
    boot_id.cache_clear()
    try:
        assert boot_id() == b""
    finally:
        boot_id.cache_clear()
