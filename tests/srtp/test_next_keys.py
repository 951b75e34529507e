"""An end that takes another key in mid-stream: its roll-over counter stays, or begins anew with the key."""

import pytest

from nh.srtp.receiver import SrtpReceiver
from nh.srtp.refusal import SrtpRefused
from nh.srtp.state import DirectionState
from nh.srtp.suites import SUITES
from tests.srtp.packets import SSRC, key_of, protect, receiver, rtp, sender, unprotect

ROLLED = 2 * 65_536 + 40_000
"""Index of the latest packet with the key before: 48 minutes of speech."""


def before(suite: str) -> SrtpReceiver:
    """The receiver of the key before, at ROLLED."""
    state = receiver(key_of(suite)).to_state()
    found = SrtpReceiver(key_of(suite), bytearray(70_000), state)
    ours = sender(key_of(suite))
    for index in (0, 30_000, 60_000, 90_000, 120_000, 150_000, ROLLED):
        unprotect(found, protect(ours, rtp(index)))
    return found


@pytest.fixture(params=sorted(SUITES))
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
@pytest.mark.parametrize("kept", [True, False], ids=["counter stays", "counter begins anew"])
def test_a_stream_goes_on_with_the_next_key(suite: str, kept: bool, restored: bool) -> None:
    following = key_of(suite, fill=1)
    state = before(suite).to_next_key()
    if restored:
        state = receiver(following, state).to_state()
    theirs = receiver(following, state)
    ours = sender(following, DirectionState(before(suite).to_state().rtp, []) if kept else None)
    for index in (ROLLED + 1, ROLLED + 2, ROLLED + 500, ROLLED + 400, ROLLED + 30_000):
        assert unprotect(theirs, protect(ours, rtp(index, b"%d" % index)))[12:] == b"%d" % index


def test_a_second_key_after_a_silence_goes_on_as_well(suite: str) -> None:
    """A hold and its end may bring a key each, and no packet comes in between."""
    silent, following = key_of(suite, fill=1), key_of(suite, fill=2)
    theirs = receiver(following, receiver(silent, before(suite).to_next_key()).to_next_key())
    ours = sender(following, DirectionState(before(suite).to_state().rtp, []))
    unprotect(theirs, protect(ours, rtp(ROLLED + 1)))


def test_a_replay_stays_one(suite: str) -> None:
    following = key_of(suite, fill=1)
    theirs = receiver(following, before(suite).to_next_key())
    ours = sender(following, DirectionState(before(suite).to_state().rtp, []))
    packet = protect(ours, rtp(ROLLED + 1))
    unprotect(theirs, packet)
    with pytest.raises(SrtpRefused):
        unprotect(theirs, packet)
    assert [each.ssrc for each in theirs.to_state().rtp] == [SSRC]
    assert theirs.to_state().former == []
