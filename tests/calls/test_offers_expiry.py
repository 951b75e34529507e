"""What ends by itself: silence, holds that last too long, unanswered offers."""

from nh.calls.offer_answer.participants import MAX_PARTIES
from nh.calls.settings import RelaySettings
from tests.calls.fakes import receive
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_FAX,
    A_HELD,
    A_MOVED,
    A_PAUSED,
    A_VIDEO,
    B_AUDIO,
    B_FAX,
    B_VIDEO,
    C_AUDIO,
    A,
    B,
    C,
    D,
    NgProxy,
    make_ng_proxy,
)

RULES = RelaySettings()


def speak(ng: NgProxy, number: int = 0) -> None:
    """A packet of the caller's in one of the sessions."""
    session = ng.plane.running[number]
    receive(session.legs[0], 172, at=ng.now)
    session.note(now=ng.now)


def test_a_silent_call_ends(ng: NgProxy) -> None:
    ng.connect()
    speak(ng)
    assert ng.expire(after_s=29.9).sessions == []
    (ended,) = ng.expire(after_s=0.1).sessions
    assert (ended.reason, ended.id_from, ended.id_to) == ("expired", A, B)
    ng.expire(after_s=RULES.replaced_s)
    assert ng.nothing_is_left


def test_a_phone_may_ring_for_long_before_an_end_says_a_word(ng: NgProxy) -> None:
    """Early media are announced (183), but come only with the answer."""
    ng.connect()
    assert ng.expire(after_s=RULES.unused_s - 1).sessions == []
    ng.answer(B_AUDIO)
    assert ng.expire(after_s=RULES.unused_s - 1).sessions == []
    assert len(ng.expire(after_s=1).sessions) == 1


def test_who_speaks_keeps_the_call(ng: NgProxy) -> None:
    ng.connect()
    for _ in range(5):
        ng.now += 25
        speak(ng)
        assert ng.expire().sessions == []


def test_a_call_is_silent_only_when_all_its_media_are(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    for _ in range(3):
        ng.now += 25
        speak(ng, number=1)
        assert ng.expire().sessions == []
    assert len(ng.expire(after_s=30).sessions) == 2


def test_a_call_on_hold_lives_longer_however_it_says_so(ng: NgProxy) -> None:
    for held in (A_HELD, A_PAUSED):
        ng.connect()
        ng.offer(held, to=B)
        ng.answer(B_AUDIO)
        assert ng.expire(after_s=RULES.hold_s - 1).sessions == []
        (ended,) = ng.expire(after_s=1).sessions
        assert ended.reason == "hold"
        ng.expire(after_s=RULES.replaced_s)
        assert ng.nothing_is_left


def test_after_a_long_hold_there_is_time_to_speak_again(ng: NgProxy) -> None:
    ng.connect()
    speak(ng)
    ng.offer(A_PAUSED, to=B)
    ng.answer(B_AUDIO)
    ng.now += 600
    ng.offer(A_AUDIO, to=B)
    ng.answer(B_AUDIO)
    assert ng.expire(after_s=29).sessions == []
    assert len(ng.expire(after_s=1).sessions) == 1


def test_a_medium_that_changes_its_kind_late_in_a_call_waits_for_the_answer(ng: NgProxy) -> None:
    ng.connect()
    for _ in range(20):
        ng.now += 25
        speak(ng)
    ng.offer(A_FAX, to=B)
    ng.expire(after_s=10)
    assert ng.tags == {A, B}
    ng.answer(B_FAX)
    assert len(ng.plane.running) == 1


def test_an_unanswered_offer_ends(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO, branch=b"1")
    assert ng.expire(after_s=RULES.unused_s - 1).unused_groups == 0
    assert ng.expire(after_s=1).unused_groups == 2
    assert ng.nothing_is_left


def test_an_offer_that_is_repeated_waits_again(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.now += RULES.unused_s - 1
    ng.offer(A_AUDIO)
    ng.expire(after_s=RULES.unused_s - 1)
    assert ng.tags == {A}
    ng.expire(after_s=1)
    assert ng.nothing_is_left


def test_a_call_without_media_ends_too(ng: NgProxy) -> None:
    ng.offer(None)
    ng.answer(None)
    ng.expire(after_s=RULES.unused_s)
    assert ng.talking == set()
    ng.expire(after_s=RULES.unused_s)
    assert ng.nothing_is_left


def test_a_silent_fork_leaves_the_other_alone(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO, tag=B)
    ng.answer(C_AUDIO, tag=C)
    speak(ng, number=1)
    ng.now += 20
    speak(ng, number=0)
    (ended,) = ng.expire(after_s=10).sessions
    assert ended.id_to == C
    ng.expire(after_s=RULES.replaced_s)
    assert ng.tags == {A, B}
    assert len(ng.plane.open) == 4


def test_blocked_media_keep_a_call(ng: NgProxy) -> None:
    ng.connect()
    ng.block()
    ng.now += 25
    speak(ng)
    assert ng.expire(after_s=20).sessions == []


def test_the_times_are_those_that_are_set() -> None:
    ng = make_ng_proxy(RelaySettings(silent_s=5, unused_s=7))
    ng.connect()
    speak(ng)
    assert len(ng.expire(after_s=5).sessions) == 1
    ng = make_ng_proxy(RelaySettings(silent_s=5, unused_s=7))
    ng.offer(A_AUDIO)
    ng.expire(after_s=7)
    assert ng.nothing_is_left


def test_sockets_of_a_dialog_that_gave_way_are_closed_with_the_next_look() -> None:
    """The offerer stays with its other dialog, in which an answer has moved it to other sockets."""
    ng = make_ng_proxy(ports=(20_000, 21_999))
    ng.offer(A_AUDIO)
    for tag in (B, C):
        ng.answer(B_AUDIO, tag=tag)
    ng.offer(A_AUDIO, tag=D)
    for number in range(MAX_PARTIES - 4):
        ng.answer(B_AUDIO, to=D, tag=b"%d" % number)
    ng.offer(A_MOVED, to=B)
    ng.now += 1
    ng.answer(B_AUDIO)
    ng.offer(A_AUDIO, tag=b"one more")
    assert frozenset((A, C)) not in ng.talking

    opened = len(ng.plane.open)
    assert ng.expire().sessions == []

    assert len(ng.plane.open) == opened - 2
    assert frozenset((A, B)) in ng.talking
