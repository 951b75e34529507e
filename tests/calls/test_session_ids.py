"""nh.calls.session_ids: numbers that never meet, also behind sessions that were restored."""

import pytest

from nh.calls.session_ids import SessionIds


def test_two_tables_number_in_turn() -> None:
    one, two = SessionIds(1, 2), SessionIds(2, 2)
    assert [one.take(), two.take(), one.take(), two.take()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("known", "following"), [(0, 2), (1, 2), (2, 5), (3, 5), (5, 8), (100, 101), (101, 104)]
)
def test_the_step_stays_above_what_is_known(known: int, following: int) -> None:
    ids = SessionIds(2, 3)
    ids.go_on_above(known)
    assert ids.take() == following
