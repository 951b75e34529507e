"""nh.calls.expiry_watch: which calls are looked at for what has expired, and how often."""

from hypothesis import given
from hypothesis import strategies as st

from nh.calls.expiry_watch import AHEAD_S, ExpiryWatch


class FakeCall:
    """A call that counts how often it was asked."""

    def __init__(self, next_expiry: float) -> None:
        self.asked = 0
        self.at = next_expiry

    @property
    def next_expiry(self) -> float:
        self.asked += 1
        return self.at


def test_calls_that_expire_later_are_not_asked_again_each_time() -> None:
    watch = ExpiryWatch()
    calls = {b"later": FakeCall(1_000.0)}
    watch.find_due(calls, now=0.0)
    asked = calls[b"later"].asked
    for tenths in range(1, 10 * int(AHEAD_S)):
        assert watch.find_due(calls, now=tenths / 10) == []
    assert calls[b"later"].asked == asked


def test_calls_that_expire_soon_are_asked_when_they_are_due_and_not_each_time() -> None:
    watch = ExpiryWatch()
    calls = {b"%d" % second: FakeCall(second) for second in range(1, int(AHEAD_S))}
    watch.find_due(calls, now=0.0)
    for call in calls.values():
        call.asked = 0
    for tenths in range(1, 10 * int(AHEAD_S)):
        for call in watch.find_due(calls, now=tenths / 10):
            assert call.at == tenths / 10
            call.at += 3 * AHEAD_S
    assert max(call.asked for call in calls.values()) <= 2


def test_a_call_that_a_command_changes_is_due_at_once() -> None:
    watch = ExpiryWatch()
    calls = {b"a": FakeCall(1_000.0), b"b": FakeCall(1_000.0)}
    watch.find_due(calls, now=0.0)
    calls[b"b"].at = 0.5
    watch.add(b"b")
    assert watch.find_due(calls, now=0.5) == [calls[b"b"]]


def test_a_call_that_expiry_left_due_is_due_again() -> None:
    watch = ExpiryWatch()
    calls = {b"a": FakeCall(0.0)}
    assert watch.find_due(calls, now=0.0) == [calls[b"a"]]
    assert watch.find_due(calls, now=0.5) == [calls[b"a"]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "earlier", "all earlier", "end", "wait"]),
            st.integers(0, 3),
            st.floats(0.0, 3 * AHEAD_S),
        ),
        max_size=40,
    )
)
def test_the_same_calls_are_due_as_in_a_look_at_all(steps: list[tuple[str, int, float]]) -> None:
    watch, calls, now = ExpiryWatch(), dict[bytes, FakeCall](), 0.0
    for step, number, seconds in steps:
        call_id = b"%d" % number
        if step == "wait":
            now += seconds
        elif step == "begin" or (step == "earlier" and call_id in calls):
            calls[call_id] = FakeCall(now + seconds)
            watch.add(call_id)
        elif step == "all earlier":
            for call in calls.values():
                call.at = now
            watch.look_at_all()
        elif step == "end":
            calls.pop(call_id, None)
        due = watch.find_due(calls, now=now)
        assert {id(call) for call in due} == {id(call) for call in calls.values() if call.at <= now}
        for call in due:  # packets have postponed it
            call.at = now + seconds
