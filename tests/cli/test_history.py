from hypothesis import given
from hypothesis import strategies as st

from nh.cli.stats.view import History


def test_the_highest_value_has_full_height_and_the_graph_is_aligned_to_the_right() -> None:
    history = History([0, 50, 100])
    assert history.graph(5) == "  ▁▅█"
    assert history.highest(5) == 100


def test_only_what_fits_counts() -> None:
    history = History([1000, 10, 10])
    assert history.graph(2) == "██"
    assert history.highest(2) == 10


def test_nothing_but_zero_is_a_flat_line() -> None:
    assert History([0, 0]).graph(3) == " ▁▁"


@given(st.lists(st.floats(0, 1e12)), st.integers(0, 300))
def test_a_graph_has_the_width_it_was_given(values: list[float], width: int) -> None:
    history = History(values)
    assert len(history.graph(width)) == width
    assert history.highest(width) >= 0
