"""Dialogs that began with one offer: what an end announces in one of them says nothing in the others."""

import pytest

from nh.calls.media import Endpoint, Media, Side
from nh.calls.offer_answer.party import Party
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from tests.calls.fakes import receive
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_FAX,
    A_HELD,
    A_MOVED,
    B_AUDIO,
    B_FAX,
    C_AUDIO,
    A,
    B,
    C,
    D,
    NgProxy,
    Ports,
    make_ng_proxy,
)
from tests.calls.snapshots import move_calls

# what a party of one dialog alone has of its own from the beginning
ITS_OWN = {
    "ended_totals",
    "delete_at",
    "groups",
    "pending",
    "single",
    "split_from",
    "superseded",
    "waiting_since",
}

ALICE, ALICE_MOVED = (Endpoint(media.address, media.port) for media in (A_AUDIO, A_MOVED))


def between(ng: NgProxy, other: bytes) -> Session:
    """Alice's current session with another end."""
    dialog = ng.offers.participants.find_dialog(A, other)
    assert dialog is not None
    session = dialog.find_session(0)
    assert session is not None
    return session


def alice_is_at(ng: NgProxy, other: bytes) -> Endpoint | None:
    """Where Alice gets what another end sends, as long as she has sent nothing."""
    return between(ng, other).legs[0].destination


def sends_to(ng: NgProxy, other: bytes) -> int:
    """The port that another end sends to."""
    return between(ng, other).group_from.sockets[0].local.port


@pytest.fixture
def for_all(ng: NgProxy) -> Ports:
    """Bob has answered an offer that others may answer; the ports that they all were given."""
    ports = ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    ng.answer(B_AUDIO, branch=b"z1")
    return ports


# --- the end that offered ------------------------------------------------------------------------------


def test_a_repeated_answer_of_another_dialog_leaves_a_reoffer_open(ng: NgProxy, for_all: Ports) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(A_MOVED, to=B)
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    assert ng.offers.participants.find_dialog(A, B) is not None
    before = [each for each in ng.plane.running if each.group_to.id == B]
    assert len(before) == 2, "what Bob has agreed to goes on beside the offer that he has not answered"
    assert not any(each.replaced_at for each in before)
    assert alice_is_at(ng, C) == ALICE


def test_an_end_that_answers_after_a_move_in_another_dialog_is_heard_where_the_first_offer_said(
    ng: NgProxy, for_all: Ports
) -> None:
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    assert (sends_to(ng, C), alice_is_at(ng, C)) == (for_all[0], ALICE)
    assert alice_is_at(ng, B) == ALICE_MOVED
    assert sends_to(ng, B) != for_all[0]


@pytest.mark.parametrize("known", [True, False], ids=["Carol has answered", "Carol answers later"])
def test_a_hold_in_one_dialog_holds_that_dialog_only(ng: NgProxy, for_all: Ports, known: bool) -> None:
    if known:
        ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(A_HELD, to=B)
    ng.answer(B_AUDIO)
    if not known:
        ng.answer(C_AUDIO, tag=C, branch=b"z1")
    assert between(ng, B).on_hold
    assert not between(ng, C).on_hold
    assert alice_is_at(ng, C) == ALICE
    assert sends_to(ng, B) == sends_to(ng, C) == for_all[0], "one that has not moved keeps its ports"


def test_a_fax_in_one_dialog_is_speech_in_the_others(ng: NgProxy, for_all: Ports) -> None:
    ng.offer(A_FAX, to=B)
    ng.answer(B_FAX)
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    assert [len(between(ng, each).legs) for each in (B, C)] == [2, 4]


def test_an_answer_to_a_reoffer_of_the_callee_may_move_too(ng: NgProxy, for_all: Ports) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(B_AUDIO, tag=B, to=A)
    ng.answer(A_MOVED, tag=A, to=B)
    assert [alice_is_at(ng, each) for each in (B, C)] == [ALICE_MOVED, ALICE]
    ng.answer(Media("203.0.113.90", 9000, 2, "RTP/AVP", "audio"), tag=D, branch=b"z1")
    assert (sends_to(ng, D), alice_is_at(ng, D)) == (for_all[0], ALICE)


# --- what is left of the first offer ---------------------------------------------------------------------


def test_the_ports_of_the_first_offer_close_when_no_other_end_may_answer_it(
    ng: NgProxy, for_all: Ports
) -> None:
    ng.now += 100
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    for _ in range(4):
        receive(between(ng, B).legs[0], 172, at=ng.now)
        ng.expire(after_s=20)
    assert len(ng.plane.open) == 4
    ng.answer(B_AUDIO)
    ng.delete(A, to=B)
    assert ng.nothing_is_left


def test_the_last_dialog_takes_the_offer_with_it(ng: NgProxy, for_all: Ports) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    for other, media in ((B, B_AUDIO), (C, C_AUDIO)):
        ng.offer(A_MOVED, to=other)
        ng.answer(media, tag=other)
    ng.delete(A, to=B)
    assert ng.talking == {frozenset((A, C))}
    ng.delete(C, to=A)
    assert ng.nothing_is_left


def test_the_end_of_another_dialog_leaves_the_offer_to_those_that_answer_later(
    ng: NgProxy, for_all: Ports
) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(A_MOVED, to=B)
    ng.delete(C, to=A)
    ng.answer(C_AUDIO, tag=D, branch=b"z1")
    assert (sends_to(ng, D), alice_is_at(ng, D)) == (for_all[0], ALICE)


def test_an_offer_in_a_dialog_cancels_the_delete_of_its_branch(ng: NgProxy, for_all: Ports) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(A_AUDIO, to=B)
    ng.delete(A, branch=b"z1", delay_s=5)
    ng.answer(B_AUDIO)
    ng.expire(after_s=6)
    assert ng.talking == {frozenset((A, B)), frozenset((A, C))}


def test_the_branch_is_deleted_with_all_its_dialogs(ng: NgProxy, for_all: Ports) -> None:
    ng.answer(C_AUDIO, tag=C, branch=b"z1")
    ng.offer(A_MOVED, to=B)
    ng.delete(A, branch=b"z1")
    assert ng.nothing_is_left


def test_dialogs_stay_apart_in_another_process(ng: NgProxy, for_all: Ports) -> None:
    ng.offer(A_MOVED, to=B)
    after = make_ng_proxy(RelaySettings(replaced_s=0))
    move_calls(ng.table, after.table, now=ng.now)
    assert after.plane.ports == ng.plane.ports
    after.answer(C_AUDIO, tag=C, branch=b"z1")
    after.answer(B_AUDIO)
    assert [alice_is_at(after, each) for each in (B, C)] == [ALICE_MOVED, ALICE]
    assert sends_to(after, C) == for_all[0]
    after.delete(A, to=B)
    assert after.talking == {frozenset((A, C))}
    after.delete(A, to=C)
    assert after.nothing_is_left


# --- offers without a to-tag, and without a branch --------------------------------------------------------


@pytest.mark.parametrize("branch", [b"", b"z1"], ids=["no branch", "on a branch first"])
@pytest.mark.parametrize("again", [A_MOVED, A_FAX], ids=["another place", "a fax"])
def test_a_reoffer_whose_to_tag_is_left_out_is_of_the_dialog_that_answers(
    ng: NgProxy, again: Media, branch: bytes
) -> None:
    ng.offer(A_AUDIO, branch=branch, expecting=True)
    for_alice = ng.answer(B_AUDIO, branch=branch)
    for_bob = ng.offer(again, expecting=True)
    answered = ng.answer(B_FAX if again is A_FAX else B_AUDIO)
    assert (answered == for_alice) is (again is A_MOVED), "Bob has not moved"
    assert [sends_to(ng, B)] == for_bob
    assert alice_is_at(ng, B) == Endpoint(again.address, again.port)
    assert len(ng.plane.running) == 1
    assert ng.talking == {frozenset((A, B))}
    ng.delete(A, to=B)
    assert ng.nothing_is_left


def test_a_hold_whose_to_tag_is_left_out_is_agreed(ng: NgProxy) -> None:
    ng.connect()
    ng.offer(A_HELD, expecting=True)
    assert not between(ng, B).on_hold
    ng.answer(B_AUDIO)
    assert between(ng, B).on_hold
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    assert not between(ng, B).on_hold


def test_an_attempt_that_says_the_same_has_the_ports_that_were_announced(ng: NgProxy) -> None:
    """A proxy adds a branch while Bob rings; his 200 repeats what his 183 said. As rtpengine."""
    for_bob = ng.offer(A_AUDIO, expecting=True)
    for_alice = ng.answer(B_AUDIO)
    assert ng.offer(A_AUDIO, expecting=True) == for_bob
    assert ng.answer(B_AUDIO) == for_alice
    assert ng.answer(C_AUDIO, tag=C) != for_alice
    assert [sends_to(ng, each) for each in (B, C)] == for_bob * 2


def test_the_attempt_that_was_offered_last_is_answered_by_another_end(ng: NgProxy) -> None:
    """Its answer names no branch, and an older offer waits on one; the last offer was answered before."""
    ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    for_bob = ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    assert ng.offer(A_AUDIO, expecting=True) == for_bob
    ng.answer(C_AUDIO, tag=C)
    assert [sends_to(ng, C)] == for_bob


@pytest.mark.parametrize(("tag", "answer"), [(B, B_AUDIO), (C, C_AUDIO)], ids=["its end", "another end"])
def test_an_offer_without_a_branch_is_of_its_answerer_while_a_branch_waits(
    ng: NgProxy, tag: bytes, answer: Media
) -> None:
    ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    ng.offer(A_AUDIO, branch=b"z2", expecting=True)
    ng.answer(B_AUDIO, branch=b"z2")
    offered = ng.offer(A_AUDIO, expecting=True)
    ng.answer(answer, tag=tag)
    assert [sends_to(ng, tag)] == offered


def two_attempts(ng: NgProxy) -> Ports:
    """Bob has answered one offer of Alice's, and Carol one from another place; where she sends to."""
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    ng.outwait_forks()
    for_carol = ng.offer(A_MOVED)
    ng.answer(C_AUDIO, tag=C)
    return for_carol


def test_of_offers_that_say_the_same_the_one_that_any_end_may_answer_is_said_again(ng: NgProxy) -> None:
    for_carol = two_attempts(ng)
    for_bob = ng.offer(A_MOVED, to=B)  # later, and for Bob alone
    ng.answer(B_AUDIO)
    assert ng.offer(A_MOVED) == for_carol != for_bob


@pytest.mark.parametrize("first, last", [(B, C), (C, B)], ids=["Carol", "Bob"])
def test_of_offers_for_one_end_each_that_say_the_same_the_last_one_is_said_again(
    ng: NgProxy, first: bytes, last: bytes
) -> None:
    two_attempts(ng)
    ng.outwait_forks()
    ports = []
    for end in (first, last):
        ports.append(ng.offer(A_FAX, to=end))
        ng.answer(B_FAX, tag=end)
        ng.now += 1
    assert ng.offer(A_FAX) == ports[-1] != ports[0]


def test_a_branch_that_is_deleted_soon_waits_for_no_answer_that_names_none(ng: NgProxy) -> None:
    """The proxy has cancelled it: neither the first answer nor a refresh without a to-tag is about it."""
    for_bob = ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    ng.offer(A_AUDIO, branch=b"z2", expecting=True)
    ng.delete(A, branch=b"z2", delay_s=30)
    for_alice = ng.answer(B_AUDIO)
    assert [sends_to(ng, B)] == for_bob
    assert ng.offer(A_AUDIO, expecting=True) == for_bob
    assert ng.answer(B_AUDIO) == for_alice
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(C_AUDIO, tag=C)
    assert [sends_to(ng, C)] == for_bob
    ng.expire(after_s=40)
    assert [sends_to(ng, B)] == [sends_to(ng, C)] == for_bob


@pytest.mark.parametrize("branch", [b"", b"z1"], ids=["no branch", "on a branch first"])
def test_a_refresh_whose_to_tag_is_left_out_changes_nothing(ng: NgProxy, branch: bytes) -> None:
    for_bob = ng.offer(A_AUDIO, branch=branch, expecting=True)
    for_alice = ng.answer(B_AUDIO, branch=branch)
    running = ng.plane.running
    for to in (b"", B, b""):
        assert ng.offer(A_AUDIO, to=to, expecting=True) == for_bob
        assert ng.answer(B_AUDIO) == for_alice
    assert (ng.plane.running, len(ng.plane.open)) == (running, 4)
    ng.offer(A_MOVED, to=B)
    ng.answer(B_AUDIO)
    moved = ng.offer(A_MOVED, expecting=True)
    ng.answer(B_AUDIO)
    assert [sends_to(ng, B)] == moved
    assert alice_is_at(ng, B) == ALICE_MOVED


@pytest.mark.parametrize("to_tags", [(b"",), (B, b"")], ids=["answered last", "called again last"])
def test_of_two_dialogs_a_refresh_whose_to_tag_is_left_out_is_of_the_one_that_signalled_last(
    ng: NgProxy, to_tags: tuple[bytes, ...]
) -> None:
    """Carol has rung on a branch that stays; Bob has answered on another one."""
    for_bob = ng.offer(A_AUDIO, branch=b"z1", expecting=True)
    ng.offer(A_AUDIO, branch=b"z2", expecting=True)
    ng.answer(C_AUDIO, tag=C, branch=b"z2")
    ng.now += 1
    for_alice = ng.answer(B_AUDIO, branch=b"z1")
    for to in to_tags:
        ng.now += 1
        assert ng.offer(A_AUDIO, to=to, expecting=True) == for_bob
        assert ng.answer(B_AUDIO) == for_alice
        assert [sends_to(ng, B)] == for_bob


def test_an_attempt_from_another_place_leaves_an_end_alone_that_does_not_answer_it(ng: NgProxy) -> None:
    for_bob = ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    for_carol = ng.offer(A_MOVED, expecting=True)
    ng.answer(C_AUDIO, tag=C)
    assert [sends_to(ng, each) for each in (B, C)] == [*for_bob, *for_carol]
    assert [alice_is_at(ng, each) for each in (B, C)] == [ALICE, ALICE_MOVED]


def test_an_open_reoffer_without_its_to_tag_is_answered_in_another_process(ng: NgProxy) -> None:
    ng.connect()
    for_bob = ng.offer(A_MOVED, expecting=True)
    after = make_ng_proxy(RelaySettings(replaced_s=0))
    move_calls(ng.table, after.table, now=ng.now)
    after.answer(B_AUDIO)
    assert [sends_to(after, B)] == for_bob
    assert alice_is_at(after, B) == ALICE_MOVED
    after.delete()
    assert after.nothing_is_left


def test_a_party_of_one_dialog_alone_begins_with_all_that_the_end_has_signalled() -> None:
    party = Party(A, Side.FROM, now=1000.0)
    signalled = set(Party.__slots__) - ITS_OWN
    for name in signalled:
        setattr(party, name, f"its {name}")
    own = party.split((), now=1001.0)
    assert {name for name in signalled if getattr(own, name) != getattr(party, name)} == set()
