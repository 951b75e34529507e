"""nh.calls.media_arrival: what arrives of the media of a call."""

import pytest

from nh.calls.media import Media
from nh.calls.media_arrival import main_medium, media_state
from nh.calls.media_state import SILENT_S, MediaState
from nh.calls.session import Session
from tests.calls.fakes import (
    ALICE_AUDIO,
    ALICE_VIDEO,
    BOB_AUDIO,
    BOB_VIDEO,
    CALL,
    HELD_AUDIO,
    START,
    Proxy,
    receive,
)
from tests.calls.ng_proxy import A_AUDIO, A_PAUSED, A_VIDEO, B_AUDIO, B_VIDEO, NgProxy

FROM, TO = 0, 1


def state(proxy: Proxy | NgProxy) -> MediaState:
    call = proxy.table.get_call(CALL)
    call.note(now=proxy.now)
    return media_state(call, now=proxy.now)


def talk(proxy: Proxy | NgProxy, session: Session, *ends: int, medium: int = 0) -> None:
    """RTP arrives from the ends."""
    pair = next(pair for pair in session.pairs if (pair.medium, pair.component) == (medium, 0))
    for end in ends:
        receive((pair.from_, pair.to)[end], 172, at=proxy.now)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((FROM, TO), MediaState.FLOWING),
        ((FROM,), MediaState.ONE_WAY),
        ((TO,), MediaState.ONE_WAY),
        ((), MediaState.SILENT),
    ],
)
def test_the_state_says_whose_media_arrive(proxy: Proxy, ends: tuple[int, ...], expected: MediaState) -> None:
    session = proxy.connect()
    proxy.now += SILENT_S
    talk(proxy, session, *ends)
    assert state(proxy) is expected


def test_media_have_some_seconds_to_begin(proxy: Proxy) -> None:
    session = proxy.connect()
    assert state(proxy) is MediaState.WAITING
    proxy.now += 1
    talk(proxy, session, FROM)
    assert state(proxy) is MediaState.WAITING
    talk(proxy, session, TO)
    assert state(proxy) is MediaState.FLOWING


def test_an_end_that_stops_is_silent_after_some_seconds(proxy: Proxy) -> None:
    session = proxy.connect()
    proxy.now += SILENT_S
    talk(proxy, session, FROM, TO)
    assert state(proxy) is MediaState.FLOWING
    proxy.now += SILENT_S - 0.1
    talk(proxy, session, TO)
    assert state(proxy) is MediaState.FLOWING
    proxy.now += 0.1
    talk(proxy, session, TO)
    assert state(proxy) is MediaState.ONE_WAY


def test_rtcp_is_no_sign_of_media(proxy: Proxy) -> None:
    session = proxy.connect()
    proxy.now += SILENT_S
    receive(session.pairs[1].from_, 80, at=proxy.now)
    receive(session.pairs[1].to, 80, at=proxy.now)
    assert state(proxy) is MediaState.SILENT


def test_a_call_without_a_session_waits(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    proxy.now += 60
    assert state(proxy) is MediaState.WAITING


def test_an_offer_that_is_not_answered_waits(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.now += 60
    assert state(ng) is MediaState.WAITING


def test_media_have_their_time_to_begin_however_long_the_phone_rang(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    ng.now += 60
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    talk(ng, session, FROM)
    assert state(ng) is MediaState.WAITING
    ng.now += SILENT_S
    talk(ng, session, FROM)
    assert state(ng) is MediaState.ONE_WAY


def test_a_call_on_hold_is_not_silent(proxy: Proxy) -> None:
    proxy.connect(offered=(HELD_AUDIO,), answered=(HELD_AUDIO,))
    proxy.now += 60
    assert state(proxy) is MediaState.HOLD


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((FROM,), MediaState.FLOWING),
        ((), MediaState.HOLD),
        ((TO,), MediaState.HOLD),
        ((FROM, TO), MediaState.FLOWING),
    ],
    ids=["music", "none", "held phone", "both"],
)
def test_a_phone_that_holds_a_call_may_play_music_or_nothing(
    ng: NgProxy, ends: tuple[int, ...], expected: MediaState
) -> None:
    ng.offer(A_PAUSED)
    ng.answer(B_AUDIO)
    session = ng.plane.running[-1]
    ng.now += SILENT_S
    talk(ng, session, *ends)
    assert state(ng) is expected


def test_audio_decides_where_there_is_any(proxy: Proxy) -> None:
    session = proxy.connect(offered=(ALICE_VIDEO, ALICE_AUDIO), answered=(BOB_VIDEO, BOB_AUDIO))
    proxy.now += SILENT_S
    talk(proxy, session, FROM, medium=0)
    talk(proxy, session, FROM, TO, medium=1)
    assert state(proxy) is MediaState.FLOWING
    found = main_medium(session)
    assert found is not None
    kind, from_, to = found
    assert (kind, from_.packets, to.packets) == ("audio", 1, 1)


def test_audio_decides_where_each_medium_has_a_session_of_its_own(ng: NgProxy) -> None:
    """With ng: one end has no camera, or shows nothing with it."""
    ng.offer(A_VIDEO, A_AUDIO)
    ng.answer(B_VIDEO, B_AUDIO)
    video, audio = ng.plane.running
    ng.now += SILENT_S
    talk(ng, video, FROM)
    assert state(ng) is MediaState.SILENT
    talk(ng, audio, FROM, TO)
    assert state(ng) is MediaState.FLOWING


def test_a_session_without_media_has_no_main_medium(proxy: Proxy) -> None:
    assert main_medium(proxy.connect(offered=(), answered=())) is None
    proxy.now += 60
    assert state(proxy) is MediaState.HOLD


def test_video_decides_where_there_is_no_audio(proxy: Proxy) -> None:
    session = proxy.connect(offered=(ALICE_VIDEO,), answered=(BOB_VIDEO,))
    proxy.now += SILENT_S
    talk(proxy, session, TO)
    assert state(proxy) is MediaState.ONE_WAY


def test_a_session_that_was_replaced_counts_no_more(proxy: Proxy) -> None:
    old = proxy.connect()
    proxy.now += SILENT_S
    moved = Media("198.51.100.1", 4100, 2, "RTP/AVP", "audio")
    new = proxy.connect(cseq=2, offered=(moved,))
    proxy.now += SILENT_S
    talk(proxy, old, FROM, TO)
    assert state(proxy) is MediaState.SILENT
    talk(proxy, new, FROM, TO)
    assert state(proxy) is MediaState.FLOWING
    assert proxy.now > START
