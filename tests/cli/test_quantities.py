import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.cli.stats import quantities as q


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (9999, "9999"), (10_000, "10.0k"), (999_499, "999k"), (999_500, "1.00M"), (10**15, "1.00P")],
)
def test_counts(value: float, shown: str) -> None:
    assert q.count(value) == shown


@pytest.mark.parametrize(
    ("per_s", "shown"),
    [(0, "0"), (0.01, "<0.1"), (0.5, "0.5"), (9.94, "9.9"), (9.96, "10"), (123.4, "123"), (54_321, "54.3k")],
)
def test_rates(per_s: float, shown: str) -> None:
    assert q.rate(per_s) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (172_000, "172k"), (9_995_000, "10.0M")],
)
def test_sizes(size_bytes: float, shown: str) -> None:
    assert q.size(size_bytes) == shown


@pytest.mark.parametrize(("mebi", "shown"), [(0, "0M"), (48.2, "48M"), (999, "999M"), (1024, "1.0G")])
def test_memory(mebi: float, shown: str) -> None:
    assert q.memory(mebi * 2**20) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.44, "0.4s"), (9.96, "10s"), (59.6, "1m00s"), (185, "3m05s"), (3720, "1h02m"), (86_399.9, "1d00h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert q.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0"), (0.0004, "<1ms"), (0.012, "12ms"), (0.0996, "0.1s"), (0.3, "0.3s"), (12, "12s")],
)
def test_lags(seconds: float, shown: str) -> None:
    assert q.lag(seconds) == shown


@given(st.floats(0, 9.9e17))
def test_counts_rates_and_sizes_fit_their_columns(value: float) -> None:
    assert max(len(q.count(value)), len(q.rate(value)), len(q.size(value))) <= 5


@given(st.floats(0, 900))
def test_lags_fit_their_column(seconds: float) -> None:
    assert len(q.lag(seconds)) <= 4


@given(st.floats(0, 80_000_000))
def test_durations_stay_short(seconds: float) -> None:
    assert len(q.duration(seconds)) <= 7
