from hypothesis import given
from hypothesis import strategies as st

from nh.cli.stats.series import Series


def test_the_highest_value_has_full_height_and_the_graph_is_aligned_to_the_right() -> None:
    series = Series([0, 50, 100])
    assert series.graph(5) == "  ▁▅█"
    assert series.highest(5) == 100


def test_only_what_fits_counts() -> None:
    series = Series([1000, 10, 10])
    assert series.graph(2) == "██"
    assert series.highest(2) == 10


def test_nothing_but_zero_is_a_flat_line() -> None:
    assert Series([0, 0]).graph(3) == " ▁▁"


@given(st.lists(st.floats(0, 1e12)), st.integers(0, 300))
def test_a_graph_has_the_width_it_was_given(values: list[float], width: int) -> None:
    series = Series(values)
    assert len(series.graph(width)) == width
    assert series.highest(width) >= 0
