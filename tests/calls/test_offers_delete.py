"""nh.calls.offer_answer.offers: deletes: by tags, by branch, at once or later."""

import pytest

from nh.errors import UnknownCall
from tests.calls.fakes import CALL
from tests.calls.ng_proxy import A_AUDIO, A_MOVED, B_AUDIO, C_AUDIO, A, B, C, D, NgProxy

AB, AC = frozenset((A, B)), frozenset((A, C))


def fork(ng: NgProxy, *, branches: bool = False) -> None:
    """Alice's offer, answered by Bob and by Carol."""
    for tag, media, branch in ((B, B_AUDIO, b"to-b"), (C, C_AUDIO, b"to-c")):
        used = branch if branches else b""
        ng.offer(A_AUDIO, branch=used)
        ng.answer(media, tag=tag, branch=used)


def test_without_a_from_tag_the_whole_call_goes(ng: NgProxy) -> None:
    fork(ng)
    ng.delete()
    assert ng.nothing_is_left


@pytest.mark.parametrize("tag", [A, B], ids=["caller", "callee"])
def test_either_end_may_end_the_call(ng: NgProxy, tag: bytes) -> None:
    ng.connect()
    ng.delete(tag)
    assert ng.nothing_is_left


def test_an_unanswered_offer_can_be_deleted(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.delete(A)
    assert ng.nothing_is_left


def test_the_caller_ends_all_its_forks(ng: NgProxy) -> None:
    fork(ng)
    ng.delete(A)
    assert ng.nothing_is_left


def test_a_branch_ends_with_all_answers_to_it_also_with_those_that_did_not_name_it(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"z1")
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.delete(A, branch=b"z1")
    assert ng.nothing_is_left


def test_a_callee_ends_its_own_fork_only(ng: NgProxy) -> None:
    fork(ng)
    ng.delete(C)
    assert ng.talking == {AB}
    assert ng.tags == {A, B}
    ng.delete(B)
    assert ng.nothing_is_left


def test_with_both_tags_only_what_is_between_them_goes(ng: NgProxy) -> None:
    fork(ng)
    ng.delete(A, to=C)
    assert ng.talking == {AB}
    assert len(ng.plane.open) == 4
    ng.delete(B, to=A)
    assert ng.nothing_is_left


@pytest.mark.parametrize(("tag", "to"), [(D, b""), (A, D), (D, A), (B, C)])
def test_tags_that_match_nothing_are_refused_and_nothing_goes(ng: NgProxy, tag: bytes, to: bytes) -> None:
    fork(ng)
    for delay_s in (0, 30):
        with pytest.raises(UnknownCall):
            ng.delete(tag, to=to, delay_s=delay_s)
    ng.expire(after_s=29)
    assert ng.talking == {AB, AC}


def test_a_call_that_is_not_known_cannot_be_deleted(ng: NgProxy) -> None:
    with pytest.raises(UnknownCall):
        ng.delete()
    ng.connect()
    ng.delete()
    with pytest.raises(UnknownCall):
        ng.delete()


# --- branches -----------------------------------------------------------------------------------------


def test_a_branch_is_matched_before_the_tags(ng: NgProxy) -> None:
    fork(ng, branches=True)
    ng.delete(A, branch=b"to-c")
    assert ng.talking == {AB}
    assert ng.tags == {A, B}


def test_a_branch_that_is_unknown_ends_at_most_the_dialog_of_both_tags(ng: NgProxy) -> None:
    fork(ng, branches=True)
    for tag, to in ((A, b""), (B, b""), (A, D), (B, C)):
        with pytest.raises(UnknownCall):
            ng.delete(tag, to=to, branch=b"of the BYE")
    assert ng.talking == {AB, AC}
    ng.delete(B, to=A, branch=b"of the BYE")
    assert ng.talking == {AC}


def test_the_tag_of_a_refusal_ends_the_only_offer_and_none_of_several(ng: NgProxy) -> None:
    for branch in (b"to-b", b"to-c"):
        ng.offer(A_AUDIO, branch=branch)
    with pytest.raises(UnknownCall):
        ng.delete(A, to=D)
    ng.delete(A, branch=b"to-b")
    ng.delete(A, to=D)
    assert ng.nothing_is_left


def test_a_branch_is_deleted_once(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.answer(C_AUDIO, tag=C, branch=b"to-c")
    ng.delete(A, branch=b"to-b")
    with pytest.raises(UnknownCall):
        ng.delete(A, branch=b"to-b")
    assert ng.talking == {AC}


@pytest.mark.parametrize("branch", [b"", b"other"])
@pytest.mark.parametrize("delay_s", [0, 30])
def test_a_losing_branch_never_ends_a_call_that_was_answered_without_its_branch(
    ng: NgProxy, branch: bytes, delay_s: int
) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.answer(C_AUDIO, tag=C, branch=branch)
    ng.delete(A, branch=b"to-b", delay_s=delay_s)
    ng.expire(after_s=31)
    assert ng.talking == {AC}
    ng.delete(A, branch=b"to-c")
    assert ng.nothing_is_left


def test_an_unanswered_branch_leaves_the_others_alone(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.answer(B_AUDIO, branch=b"to-b")
    ng.delete(A, branch=b"to-c")
    assert ng.talking == {AB}


def test_an_answered_branch_may_go_while_another_one_rings(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.answer(B_AUDIO, branch=b"to-b")
    ng.delete(A, branch=b"to-b")
    assert ng.tags == {A}
    ng.answer(C_AUDIO, tag=C, branch=b"to-c")
    assert ng.talking == {AC}


def test_the_offer_goes_with_its_last_branch(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.delete(A, branch=b"to-b")
    assert ng.tags == {A}
    ng.delete(A, branch=b"to-c")
    assert ng.nothing_is_left


def test_the_whole_call_goes_whatever_branches_ring(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"to-b")
    ng.answer(B_AUDIO, branch=b"to-b")
    ng.offer(A_AUDIO, branch=b"to-c")
    ng.delete(A)
    assert ng.nothing_is_left


def test_two_answers_on_one_branch_go_together(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"1")
    ng.offer(A_AUDIO, branch=b"2")
    ng.answer(B_AUDIO, tag=B, branch=b"1")
    ng.answer(C_AUDIO, tag=C, branch=b"1")
    ng.delete(A, branch=b"1")
    assert ng.talking == set()
    assert ng.tags == {A}


def test_a_reoffer_brings_another_branch(ng: NgProxy) -> None:
    fork(ng, branches=True)
    ng.offer(A_AUDIO, to=B, branch=b"again")
    ng.answer(B_AUDIO, branch=b"again")
    ng.delete(A, branch=b"again")
    assert ng.talking == {AC}


def test_an_answer_without_its_branch_leaves_the_decision_to_the_tags(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"1")
    ng.answer(B_AUDIO)
    ng.delete(A, branch=b"1")
    assert ng.nothing_is_left


def test_a_branch_goes_with_its_offerer(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"1")
    ng.offer(C_AUDIO, tag=C)
    ng.delete(A)
    with pytest.raises(UnknownCall):
        ng.delete(A, branch=b"1")
    assert ng.tags == {C}


# --- later --------------------------------------------------------------------------------------------


def test_a_delayed_delete_comes_in_its_time(ng: NgProxy) -> None:
    ng.connect()
    ng.delete(B, delay_s=20)
    ng.expire(after_s=19)
    assert ng.talking == {AB}
    ng.expire(after_s=1)
    assert ng.nothing_is_left


@pytest.mark.parametrize("signal", ["offer", "answer", "another's answer"])
def test_new_signalling_cancels_a_delayed_delete(ng: NgProxy, signal: str) -> None:
    fork(ng)
    ng.delete(delay_s=20)
    ng.now += 10
    match signal:
        case "offer":
            ng.offer(A_MOVED, to=B)
        case "answer":
            ng.answer(B_AUDIO)
        case _:
            ng.answer(C_AUDIO, tag=D)
    ng.expire(after_s=15)
    assert {AB, AC} <= ng.talking


def test_a_losing_branch_goes_in_its_time_whatever_the_others_signal(ng: NgProxy) -> None:
    for branch in (b"to-b", b"to-c", b"to-d"):
        ng.offer(A_AUDIO, branch=branch)
    ng.answer(B_AUDIO, branch=b"to-b")
    ng.delete(A, branch=b"to-b", delay_s=20)
    ng.delete(A, branch=b"to-d", delay_s=20)
    ng.now += 10
    ng.answer(C_AUDIO, tag=C, branch=b"to-c")
    ng.offer(A_AUDIO, to=C)
    ng.expire(after_s=15)
    assert ng.talking == {AC}
    assert ng.tags == {A, C}


def test_a_branch_that_signals_again_stays(ng: NgProxy) -> None:
    fork(ng, branches=True)
    ng.delete(A, branch=b"to-b", delay_s=20)
    ng.answer(B_AUDIO, branch=b"to-b")
    ng.expire(after_s=25)
    assert ng.talking == {AB, AC}


def test_a_call_that_hunts_on_outlives_the_delete_of_what_was_before(ng: NgProxy) -> None:
    """Serial forking without via-branch: the delete can only name the caller."""
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    ng.delete(A, delay_s=20)
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(C_AUDIO, tag=C)
    ng.expire(after_s=25)
    assert ng.talking == {AC}
    ng.delete(delay_s=20)
    ng.expire(after_s=25)
    assert ng.nothing_is_left


def test_a_delayed_delete_is_of_what_there_was_when_it_came(ng: NgProxy) -> None:
    fork(ng)
    ng.delete(C, delay_s=10)
    ng.expire(after_s=10)
    assert ng.talking == {AB}


def test_a_delete_at_once_overtakes_a_delayed_one(ng: NgProxy) -> None:
    ng.connect()
    ng.delete(delay_s=20)
    ng.delete(A)
    assert ng.nothing_is_left


def test_the_earliest_of_several_deletes_counts(ng: NgProxy) -> None:
    ng.connect()
    for delay_s in (20, 5, 25):
        ng.delete(A, delay_s=delay_s)
    ng.expire(after_s=5)
    assert ng.nothing_is_left


def test_an_offer_is_deleted_later_too(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, branch=b"1")
    ng.delete(A, branch=b"1", delay_s=5)
    ng.expire(after_s=5)
    assert ng.nothing_is_left


def test_a_delayed_delete_is_looked_at_in_time(ng: NgProxy) -> None:
    ng.connect()
    ng.expire()
    ng.delete(A, delay_s=5)
    ng.expire(after_s=1)
    assert ng.table.get_call(CALL).next_expiry == ng.now + 4
