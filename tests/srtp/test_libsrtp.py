"""SRTP beside libsrtp: each protects what the other takes, under loss, reordering, wraps and restores."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from nh.srtp.keys import MasterKey
from nh.srtp.refusal import SrtpRefused
from tests.profiles import examples
from tests.rtcp import receiver_report
from tests.srtp.packets import SSRC, key_of, protect, receiver, rtcp, rtp, sender, unprotect
from tools.rtpload.libsrtp import PROFILES

suites = pytest.mark.parametrize("suite", sorted(PROFILES))


def session(key: MasterKey, *, outbound: bool) -> Session:
    """libsrtp with that key."""
    policy = Policy(
        key=key.key + key.salt,
        ssrc_type=Policy.SSRC_ANY_OUTBOUND if outbound else Policy.SSRC_ANY_INBOUND,
        srtp_profile=PROFILES[key.suite.name],
    )
    policy.window_size = 128
    return Session(policy)


@suites
@pytest.mark.parametrize("csrcs", [0, 3])
@pytest.mark.parametrize("size", [0, 1, 160, 1200])
def test_libsrtp_reads_what_nh_protects(suite: str, csrcs: int, size: int) -> None:
    key = key_of(suite)
    ours, theirs = sender(key), session(key, outbound=False)
    for sequence in (65_534, 65_535, 65_536, 65_537):
        packet = rtp(sequence, bytes(size), csrcs=csrcs)
        assert theirs.unprotect(protect(ours, packet)) == packet


@suites
@pytest.mark.parametrize("size", [0, 1, 160, 1200])
def test_nh_reads_what_libsrtp_protects(suite: str, size: int) -> None:
    key = key_of(suite)
    ours, theirs = receiver(key), session(key, outbound=True)
    for sequence in (65_534, 65_535, 65_536, 65_537):
        packet = rtp(sequence, bytes(size))
        assert unprotect(ours, theirs.protect(packet)) == packet


@suites
def test_a_header_extension_is_authenticated_and_not_encrypted(suite: str) -> None:
    key = key_of(suite)
    plain = rtp(7, b"")
    packet = bytes([plain[0] | 0x10]) + plain[1:] + b"\xbe\xde\0\1\x10\xff\0\0" + b"speech"
    protected = protect(sender(key), packet)
    assert protected[:20] == packet[:20]
    assert session(key, outbound=False).unprotect(protected) == packet
    assert unprotect(receiver(key), session(key, outbound=True).protect(packet)) == packet


@suites
def test_rtcp_goes_both_ways(suite: str) -> None:
    key = key_of(suite)
    ours, theirs = sender(key), session(key, outbound=False)
    for number in range(3):
        packet = rtcp(b"%04d" % number)
        assert theirs.unprotect_rtcp(bytes(ours.protect(memoryview(packet)))) == packet
    back, peer = receiver(key), session(key, outbound=True)
    for number in range(3):
        packet = rtcp(b"%04d" % number)
        assert bytes(back.unprotect(memoryview(peer.protect_rtcp(packet)))) == packet


@suites
def test_a_report_of_a_header_alone_goes_both_ways(suite: str) -> None:
    """A receiver report without blocks has nothing that is encrypted."""
    key, packet = key_of(suite), receiver_report(SSRC)
    assert (
        session(key, outbound=False).unprotect_rtcp(bytes(sender(key).protect(memoryview(packet)))) == packet
    )
    protected = session(key, outbound=True).protect_rtcp(packet)
    assert bytes(receiver(key).unprotect(memoryview(bytearray(protected)))) == packet


@st.composite
def journeys(draw: st.DrawFn) -> list[int]:
    """Indexes of a stream as they arrive: some are lost, some late, and the sequence number wraps."""
    first = draw(st.integers(1, 65_535))
    steps = draw(st.lists(st.integers(1, 3000), min_size=1, max_size=120))
    sent = [first]
    for step in steps:
        sent.append(sent[-1] + (step if step > 2900 else 1 + step % 4))
    last = len(sent) - 1
    for at in draw(st.lists(st.integers(1, last + 1), max_size=20 if last else 0)):
        first, second = min(at, last), min(at + draw(st.integers(1, 20)), last)
        sent[first], sent[second] = sent[second], sent[first]
    return sent


def _sends(peer: Session | None, packet: bytes) -> bytes | None:
    try:
        return peer.protect(packet) if peer else None
    except Exception:
        return None


@suites
@settings(deadline=None, max_examples=examples(40))
@given(journey=journeys(), data=st.data())
def test_restored_ends_go_on_where_the_process_before_was(
    suite: str, journey: list[int], data: st.DataObject
) -> None:
    """The state that a successor gets is old: the packets since it was made are not in it.

    Many packets that a jump overtakes look like a source that begins again, and get other numbers.
    """
    key = key_of(suite)
    ours, theirs = sender(key), session(key, outbound=False)
    kept, kept_at = ours.to_state(), 0
    for at, index in enumerate(journey):
        if ours.checkpoint_due or data.draw(st.integers(0, 9)) == 0:
            kept, kept_at = ours.to_state(), at
            ours.checkpoint_due = False
        if data.draw(st.integers(0, 30)) == 0 and index > max(journey[:at], default=0):
            ours = sender(key, kept)
        packet = rtp(index)
        try:
            protected = protect(ours, packet)
        except SrtpRefused:
            assert kept_at <= at
            continue  # too late, or a packet that the process before may have sent
        with_wrap = theirs.unprotect(protected)
        assert with_wrap == packet if not ours.offsets else with_wrap[4:] == packet[4:]
    assert SSRC in ours.rtp


@suites
@settings(deadline=None, max_examples=examples(40))
@given(journey=journeys(), data=st.data())
def test_a_restored_receiver_reads_on(suite: str, journey: list[int], data: st.DataObject) -> None:
    key = key_of(suite)
    theirs, ours = session(key, outbound=True), receiver(key)
    kept = ours.to_state()
    for index in journey:
        protected = _sends(theirs, rtp(index))
        if ours.checkpoint_due:
            kept = ours.to_state()
            ours.checkpoint_due = False
        if data.draw(st.integers(0, 20)) == 0:
            ours = receiver(key, kept)
        if protected is None:
            continue  # libsrtp sends nothing that is late either
        assert unprotect(ours, protected) == rtp(index)
