"""What SRTP refuses: forged, replayed, truncated packets, other keys, a second use of an index."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.srtp import direction
from nh.srtp.keys import MasterKey
from nh.srtp.receiver import SrtpReceiver
from nh.srtp.refusal import Refusal, SrtpRefused
from nh.srtp.sender import SrtpSender
from nh.srtp.state import DirectionState, SrtpStreamState
from nh.srtp.suites import SUITES, find_suite
from nh.srtp.window import MAX_INDEX, WINDOW_PACKETS
from tests.profiles import examples
from tests.srtp.packets import SSRC, key_of, protect, receiver, rtcp, rtp, sender, unprotect

suites = pytest.mark.parametrize("suite", sorted(SUITES))


def refusal(by: SrtpSender | SrtpReceiver, packet: bytes) -> Refusal:
    """Why `by` refuses it."""
    with pytest.raises(SrtpRefused) as caught:
        if isinstance(by, SrtpSender):
            by.protect(memoryview(packet))
        else:
            by.unprotect(memoryview(packet))
    return caught.value.reason


@suites
def test_what_was_sent_comes_back(suite: str) -> None:
    ours, theirs = sender(key_of(suite)), receiver(key_of(suite))
    assert unprotect(theirs, protect(ours, rtp(1))) == rtp(1)
    report = bytes(ours.protect(memoryview(rtcp())))
    assert bytes(theirs.unprotect(memoryview(report))) == rtcp()


@suites
@pytest.mark.parametrize("mki", [b"\1", b"\0\0\0\7"])
def test_a_master_key_identifier_goes_along(suite: str, mki: bytes) -> None:
    key = key_of(suite, mki=mki)
    ours, theirs = sender(key), receiver(key)
    protected = protect(ours, rtp(1))
    assert unprotect(theirs, protected) == rtp(1)
    report = bytes(ours.protect(memoryview(rtcp())))
    assert bytes(theirs.unprotect(memoryview(report))) == rtcp()
    other = receiver(key_of(suite, mki=bytes(len(mki))))
    assert refusal(other, protect(ours, rtp(2))) is Refusal.NO_KEY


@suites
def test_reports_of_a_successor_have_indexes_that_no_report_had(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the latest state that its predecessor was to save, however many reports came since."""
    monkeypatch.setattr("nh.srtp.sender.RTCP_INDEX_STEP", 8)
    key = key_of(suite)
    ours, state = sender(key), DirectionState([], [])
    sent = []
    for _ in range(40):
        sent.append(bytes(ours.protect(memoryview(rtcp()))))
        if ours.checkpoint_due:
            ours.checkpoint_due, state = False, ours.to_state()
        theirs = receiver(key)
        for report in sent[-64:]:
            theirs.unprotect(memoryview(report))
        assert bytes(theirs.unprotect(sender(key, state).protect(memoryview(rtcp())))) == rtcp(), "it is new"


@suites
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_found(suite: str, at: int, bit: int) -> None:
    theirs = receiver(key_of(suite))
    forged = bytearray(protect(sender(key_of(suite)), rtp(1)))
    forged[at % len(forged)] ^= 1 << bit
    assert refusal(theirs, bytes(forged)) in {Refusal.AUTHENTICATION, Refusal.MALFORMED}
    assert theirs.rtp == {}


@suites
@settings(max_examples=examples(200))
@given(packet=st.binary(max_size=60))
def test_noise_is_refused(suite: str, packet: bytes) -> None:
    refusal(receiver(key_of(suite)), packet)
    refusal(receiver(key_of(suite)), packet[:1] + b"\xc9" + packet[2:])


@suites
def test_every_shorter_packet_is_refused(suite: str) -> None:
    protected = protect(sender(key_of(suite)), rtp(1, b"speech", csrcs=2))
    report = bytes(sender(key_of(suite)).protect(memoryview(rtcp())))
    for size in range(len(protected)):
        refusal(receiver(key_of(suite)), protected[:size])
    for size in range(len(report)):
        refusal(receiver(key_of(suite)), report[:size])


@suites
def test_a_replay_is_refused_and_what_is_late_is_not(suite: str) -> None:
    ours, theirs = sender(key_of(suite)), receiver(key_of(suite))
    protected = {index: protect(ours, rtp(index)) for index in range(1, 300)}
    for index in (1, 3, 2, 129):
        assert unprotect(theirs, protected[index]) == rtp(index)
        assert refusal(theirs, protected[index]) is Refusal.REPLAY
    assert unprotect(theirs, protected[129 - WINDOW_PACKETS + 3]) == rtp(4)
    unprotect(theirs, protected[299])
    assert refusal(theirs, protected[299 - WINDOW_PACKETS]) is Refusal.REPLAY


@suites
def test_a_report_is_received_once(suite: str) -> None:
    ours, theirs = sender(key_of(suite)), receiver(key_of(suite))
    report = bytes(ours.protect(memoryview(rtcp())))
    theirs.unprotect(memoryview(report))
    assert refusal(theirs, report) is Refusal.REPLAY


@suites
def test_an_index_protects_one_payload_only(suite: str) -> None:
    """A source that begins again, or a branch with the same SSRC, must not give the key stream away."""
    ours = sender(key_of(suite))
    for index in (100, 101, 102):
        protect(ours, rtp(index))
    assert refusal(ours, rtp(101, b"another payload")) is Refusal.REPLAY


@suites
def test_a_successor_sends_below_no_index_that_its_predecessor_may_have_used(suite: str) -> None:
    ours = sender(key_of(suite))
    protect(ours, rtp(100))
    successor = sender(key_of(suite), ours.to_state())
    protect(ours, rtp(101))  # after the state was made
    protect(successor, rtp(102))
    assert refusal(successor, rtp(101, b"another payload")) is Refusal.REPLAY


@suites
def test_a_successor_never_repeats_an_index_of_rtcp(suite: str) -> None:
    ours = sender(key_of(suite))
    state = ours.to_state()
    sent = {bytes(ours.protect(memoryview(rtcp()))) for _ in range(100)}
    successor = sender(key_of(suite), state)
    sent |= {bytes(successor.protect(memoryview(rtcp()))) for _ in range(100)}
    assert len(sent) == 200


def test_a_key_has_a_bounded_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direction, "MAX_STREAMS", 2)
    ours = sender(key_of())
    protect(ours, rtp(1, ssrc=1))
    protect(ours, rtp(1, ssrc=2))
    assert refusal(ours, rtp(1, ssrc=3)) is Refusal.EXHAUSTED
    protect(ours, rtp(2, ssrc=1))


def test_a_key_that_is_used_up_protects_nothing_more() -> None:
    last = DirectionState([SrtpStreamState(SSRC, MAX_INDEX, (1).to_bytes(16, "big"))], [], 2**31)
    ours = sender(key_of(), last)
    assert refusal(ours, rtp(MAX_INDEX + 1)) is Refusal.EXHAUSTED
    assert refusal(ours, rtcp()) is Refusal.EXHAUSTED
    assert refusal(receiver(key_of(), last), protect(sender(key_of()), rtp(0))) is Refusal.EXHAUSTED


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"),
        ("aes_cm_128_hmac_sha1_32", "AES_CM_128_HMAC_SHA1_32"),
        ("AES_CM_256_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80"),
        ("AES_256_CM_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_32"),
    ],
)
def test_suites_have_two_spellings(told: str, name: str) -> None:
    suite = find_suite(told)
    assert suite is not None
    assert suite.name == name
    assert find_suite("F8_128_HMAC_SHA1_80") is None


def test_a_key_of_another_length_is_an_error() -> None:
    suite = SUITES["AEAD_AES_128_GCM"]
    with pytest.raises(ValueError, match="a key of AEAD_AES_128_GCM has 16 bytes and a salt of 12"):
        MasterKey(suite, bytes(16), bytes(14))


def test_a_packet_may_end_with_the_header_of_its_extension() -> None:
    """It has neither words of the extension nor a payload, and is whole (RFC 3550 5.3.1)."""
    packet = b"\x90" + bytes(11) + b"\xbe\xde\0\0"
    assert direction.header_bytes(memoryview(packet), len(packet)) == len(packet)
