"""nh.fair_queue: the order in which clients get what waits, and what gives way."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.fair_queue import FairQueue


def test_clients_take_turns() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        assert queue.put(item[0], item) is None
    assert [queue.take() for _ in range(len(queue))] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_where_it_is_full_the_latest_item_of_the_client_with_most_gives_way() -> None:
    queue: FairQueue[str] = FairQueue(3)
    gone = [queue.put(item[0], item) for item in ("a1", "a2", "a3", "a4", "b1", "c1", "c2", "d1")]
    assert gone == [None, None, None, "a4", "a3", "a2", "c2", "d1"]
    assert [queue.take() for _ in range(3)] == ["a1", "b1", "c1"]


def test_however_many_clients_wait_it_takes_as_many_steps_to_find_the_one_with_most() -> None:
    assert _steps_of_a_full_queue(clients=2000) == _steps_of_a_full_queue(clients=2)


def _steps_of_a_full_queue(clients: int) -> int:
    """How many functions are called to put a further item into a full queue."""
    queue: FairQueue[int] = FairQueue(2 * clients)
    for number in range(2 * clients):
        queue.put(str(number % clients), number)
    steps = 0

    def count(*_event: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        queue.put("another one", -1)
    finally:
        sys.setprofile(None)
    return steps


def test_a_queue_without_places_has_none_for_any_client() -> None:
    assert FairQueue[str](0).put("a", "a1") == "a1"


def test_what_gives_way_for_a_client_is_its_own_where_none_has_more() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "b1", "b2", "c1"):
        queue.put(item[0], item)
    assert [queue.give_way("b"), queue.give_way("b"), queue.give_way("c")] == ["b2", "a2", "c1"]
    assert [queue.take() for _ in range(len(queue))] == ["a1", "b1"]


def test_what_is_taken_out_waits_no_more() -> None:
    queue: FairQueue[str] = FairQueue(3)
    queue.put("a", "a1")
    for client, item in (("a", "a1"), ("a", "a1"), ("b", "b1")):
        queue.discard(client, item)
    assert len(queue) == 0
    with pytest.raises(StopIteration):
        queue.take()


@given(st.lists(st.sampled_from("abcdefgh"), max_size=200), st.integers(1, 40))
def test_each_client_gets_what_it_wants_up_to_an_equal_share(wanted: list[str], most: int) -> None:
    queue: FairQueue[str] = FairQueue(most)
    for client in wanted:
        queue.put(client, client)
    assert len(queue) == min(most, len(wanted))
    has = Counter(queue.take() for _ in range(len(queue)))
    largest = max(has.values(), default=0)
    assert all(
        has[client] == wants or has[client] >= largest - 1 for client, wants in Counter(wanted).items()
    )
