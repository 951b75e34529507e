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
    ids.advance_past(known)
    assert ids.take() == following


def test_ids_above_all_known_ones_are_new() -> None:
    two_tables = [SessionIds(1, 2), SessionIds(2, 2)]
    handed_out = [ids.take() for ids in two_tables for _ in range(3)]
    known = max(ids.known for ids in two_tables)
    three_tables = [SessionIds(first, 3) for first in (1, 2, 3)]
    for ids in three_tables:
        ids.advance_past(known)
        handed_out += [ids.take() for _ in range(3)]
    assert len(set(handed_out)) == len(handed_out)


def test_a_number_that_came_from_elsewhere_is_known() -> None:
    ids = SessionIds(1, 2)
    assert ids.known == 0
    ids.advance_past(100)
    assert ids.known >= 100
