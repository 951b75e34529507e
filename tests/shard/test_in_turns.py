"""Work in turns: some of it now, and the rest between packets and commands."""

from nh.loop import SelectorLoop
from nh.shard.media.in_turns import MIN_A_TURN, WORK_S, InTurns
from tools.harness.waiting import turn_until


class Work:
    """Notes what is done; each piece takes so many seconds of its own clock."""

    def __init__(self, each_s: float) -> None:
        self.done: list[str] = []
        self.now = 0.0
        self._each_s = each_s

    def __call__(self, subject: str) -> None:
        self.done.append(subject)
        self.now += self._each_s


def in_turns(work: Work) -> InTurns[str]:
    return InTurns(work, lambda: work.now)


def test_a_turn_ends_once_it_has_taken_long_and_later_turns_do_the_rest_in_order() -> None:
    loop, work = SelectorLoop(), Work(WORK_S / (MIN_A_TURN + 1.5))
    some = in_turns(work)
    some.attach(loop)
    assert some.add("abcdefghijkl")
    some.turn()
    assert work.done == [*"abcdefghijkl"][: MIN_A_TURN + 2]
    turn_until(loop, lambda: len(work.done) == 12, "all is done")
    assert work.done == [*"abcdefghijkl"]
    loop.close()


def test_the_legs_of_a_call_have_one_turn_however_long_it_takes() -> None:
    loop, work = SelectorLoop(), Work(WORK_S)
    some = in_turns(work)
    some.attach(loop)
    some.add("abcde")
    some.turn()
    assert work.done == [*"abcde"][:MIN_A_TURN]
    turn_until(loop, lambda: work.done == [*"abcde"], "all is done")
    loop.close()


def test_what_is_added_while_turns_go_on_begins_none() -> None:
    loop, work = SelectorLoop(), Work(WORK_S)
    some = in_turns(work)
    some.attach(loop)
    assert some.add("abcde")
    some.turn()
    assert not some.add("ef"), "the turns that go on do it, and each once"
    turn_until(loop, lambda: work.done == [*"abcdef"], "all is done")
    assert some.add("g")
    loop.close()


def test_without_a_loop_a_turn_does_all() -> None:
    work = Work(WORK_S)
    some = in_turns(work)
    some.add("abcdefgh")
    some.turn()
    assert work.done == [*"abcdefgh"]


def test_what_is_discarded_is_not_done_and_what_waits_is_done_once_there_is_a_loop() -> None:
    loop, work = SelectorLoop(), Work(WORK_S)
    some = in_turns(work)
    some.add("abc")
    some.discard("b")
    some.attach(loop)
    turn_until(loop, lambda: work.done == ["a", "c"], "all is done")
    loop.close()


def test_a_detached_loop_has_no_turn() -> None:
    loop, work = SelectorLoop(), Work(WORK_S)
    some = in_turns(work)
    some.attach(loop)
    some.add("abcde")
    some.turn()
    some.detach()
    after: list[bool] = []
    loop.call_later(2 * WORK_S, lambda: after.append(True))
    turn_until(loop, lambda: after, "the time of another turn is over")
    assert work.done == [*"abcd"]
    some.attach(loop)
    turn_until(loop, lambda: work.done == [*"abcde"], "attached again, it goes on")
    loop.close()


def test_another_loop_has_the_turns_that_the_one_before_was_to_have() -> None:
    loop, other, work = SelectorLoop(), SelectorLoop(), Work(WORK_S)
    some = in_turns(work)
    some.attach(loop)
    some.add("abcde")
    some.turn()
    some.detach()
    loop.close()
    some.attach(other)
    turn_until(other, lambda: work.done == [*"abcde"], "the other loop goes on")
    other.close()
