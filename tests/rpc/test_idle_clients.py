"""nh.rpc.idle_clients: who is idle, who is overdue."""

import pytest

from nh.rpc.idle_clients import IdleTracker


@pytest.fixture
def clients() -> IdleTracker[str]:
    known: IdleTracker[str] = IdleTracker()
    for at, name in enumerate("abc"):
        known.add(name, float(at))
    return known


def test_the_longest_idle_client_is_the_one_that_came_first(clients: IdleTracker[str]) -> None:
    assert clients.find_longest_idle() == "a"


def test_activity_makes_a_client_the_last_in_line(clients: IdleTracker[str]) -> None:
    clients.active("a", 5.0)
    assert clients.find_longest_idle() == "b"
    assert clients.overdue(7.0, idle_s=3.0, partial_frame_s=1.0) == ["b", "c"]
    assert clients.overdue(4.0, idle_s=3.0, partial_frame_s=1.0) == []


def test_a_busy_client_is_never_idle_until_its_answers_are_out(clients: IdleTracker[str]) -> None:
    for name in "abc":
        clients.begin(name)
    assert clients.find_longest_idle() is None
    assert clients.overdue(1000.0, idle_s=1.0, partial_frame_s=1.0) == []
    assert len(clients) == 3
    clients.end("b", 1000.0)
    assert len(clients) == 3
    assert sorted(clients) == ["a", "b", "c"]
    assert clients.find_longest_idle() == "b"
    assert clients.overdue(1000.5, idle_s=1.0, partial_frame_s=1.0) == []


def test_a_partial_frame_counts_from_its_beginning_whatever_comes_in_between(
    clients: IdleTracker[str],
) -> None:
    clients.partial_frame("c", 10.0)
    clients.active("c", 15.0)
    clients.partial_frame("c", 15.0)
    assert clients.overdue(15.5, idle_s=100.0, partial_frame_s=5.0) == ["c"]
    clients.complete_frame("c")
    assert clients.overdue(15.5, idle_s=100.0, partial_frame_s=5.0) == []


def test_who_left_is_forgotten(clients: IdleTracker[str]) -> None:
    clients.partial_frame("a", 0.0)
    clients.begin("b")
    for name in "abcx":
        clients.discard(name)
    assert len(clients) == 0
    assert list(clients) == []
    assert clients.overdue(1000.0, idle_s=1.0, partial_frame_s=1.0) == []
