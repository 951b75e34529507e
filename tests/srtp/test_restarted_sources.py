"""A source that begins its sequence numbers anew is heard, and no index of a key protects two payloads."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.srtp.refusal import SrtpRefused
from nh.srtp.renumbering import RESTART_PACKETS, restore_numbers
from nh.srtp.sender import SrtpSender
from nh.srtp.suites import SUITES
from nh.srtp.window import CHECKPOINT_PACKETS, WINDOW_PACKETS
from tests.profiles import examples
from tests.srtp.packets import SSRC, key_of, protect, receiver, rtcp, rtp, sender, unprotect
from tools.rtpload import libsrtp

suites = pytest.mark.parametrize("suite", sorted(SUITES))
libsrtp_suites = pytest.mark.parametrize("suite", sorted(libsrtp.PROFILES))

UNHEARD = RESTART_PACKETS - 1


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def sent_numbers(by: SrtpSender, *numbers: int, ssrc: int = SSRC) -> list[int | None]:
    """The sequence numbers that packets go out with, None for those that are refused."""
    found: list[int | None] = []
    for number in numbers:
        try:
            found.append(number_of(protect(by, rtp(number, b"%d" % len(found), ssrc=ssrc))))
        except SrtpRefused:
            found.append(None)
    return found


def restart(by: SrtpSender, first: int) -> list[int | None]:
    """The source begins anew at a number; returns the numbers of the packets that go out."""
    return [each for each in sent_numbers(by, *range(first, first + RESTART_PACKETS)) if each is not None]


@libsrtp_suites
@pytest.mark.parametrize("again_at", [0, 4999, 5000 - WINDOW_PACKETS, 65_000, 5000 - 32_767 + 65_536])
def test_a_receiver_hears_a_source_that_begins_again_lower(suite: str, again_at: int) -> None:
    """libsrtp is the receiver; 65,000 and the last are lower by less than 2^15, modulo 2^16."""
    key = key_of(suite)
    ours, theirs = sender(key), libsrtp.incoming(suite, key.key + key.salt)
    for number in range(4000, 5001):
        theirs.unprotect(protect(ours, rtp(number)))
    heard = []
    for number in range(again_at, again_at + 300):
        try:
            sealed = protect(ours, rtp(number, b"%d" % number))
        except SrtpRefused:
            continue
        opened = theirs.unprotect(sealed)
        assert opened[12:] == b"%d" % number
        assert opened[4:8] == rtp(number)[4:8], "the timestamp stays"
        heard.append(number_of(opened))
    late = 0 if again_at + 300 < 4000 or again_at > 5000 else WINDOW_PACKETS
    assert heard == list(range(5001, 5001 + len(heard)))
    assert len(heard) >= 300 - UNHEARD - late


def test_a_second_restart_goes_on_behind_the_first() -> None:
    ours = sender(key_of())
    sent_numbers(ours, *range(4800, 5001))
    assert restart(ours, 100) == [5001]
    assert sent_numbers(ours, 108, 110, 109, 109) == [5002, 5004, 5003, None]
    assert restart(ours, 50) == [5005]
    assert sent_numbers(ours, 58) == [5006]


def test_a_number_that_is_the_next_one_without_the_offset_is_shifted_as_the_others() -> None:
    ours = sender(key_of())
    sent_numbers(ours, 5000)
    restart(ours, 100)
    assert sent_numbers(ours, 5002, 5003) == [5002 + 4894, 5003 + 4894]


def test_the_numbers_wrap_around_at_their_own_end() -> None:
    key = key_of()
    ours, theirs = sender(key), receiver(key)
    unprotect(theirs, protect(ours, rtp(65_530)))
    restart(ours, 60_000)
    heard = [unprotect(theirs, protect(ours, rtp(60_008 + each))) for each in range(8_000)]
    assert [number_of(each) for each in heard] == [(65_532 + each) & 0xFFFF for each in range(8_000)]


def test_other_streams_of_the_key_keep_their_numbers() -> None:
    ours = sender(key_of())
    sent_numbers(ours, 5000)
    sent_numbers(ours, 5000, ssrc=7)
    restart(ours, 100)
    assert sent_numbers(ours, 5001, ssrc=7) == [5001]
    assert sent_numbers(ours, 108) == [5002]


@pytest.mark.parametrize(
    "numbers",
    [
        [each for each in range(100, 200) for _ in range(2)],
        [*range(100, 200), *range(100, 100 + UNHEARD), 200],
        [number for each in range(100, 200) for number in (each, each - 50)],
        [100, *[100] * 3 * RESTART_PACKETS],
    ],
    ids=["all come twice", "a burst comes twice", "two sources have one SSRC", "one comes many times"],
)
def test_what_comes_again_while_the_stream_goes_on_is_no_restart(numbers: list[int]) -> None:
    ours = sender(key_of())
    sent_numbers(ours, *range(40, 100))
    assert set(sent_numbers(ours, *numbers)) - {None} == set(numbers) - set(range(100))
    assert ours.offsets == {}


def test_what_is_late_after_a_restore_is_no_restart() -> None:
    """The process before may have sent it, so it is refused, as if its index had been used."""
    before = sender(key_of())
    sent_numbers(before, 5000)
    ours = sender(key_of(), before.to_state())
    assert sent_numbers(ours, 5100, *range(5020, 5080), 5101)[-1] == 5101


@pytest.mark.parametrize("kind", ["doubled", "reordered", "lost"])
def test_a_restart_is_noticed_where_the_network_is_bad(kind: str) -> None:
    ours = sender(key_of())
    sent_numbers(ours, 5000)
    numbers = {
        "doubled": [each for each in range(100, 112) for _ in range(2)],
        "reordered": [each ^ 1 for each in range(100, 120)],
        "lost": list(range(100, 160, 3)),
    }[kind]
    assert any(sent_numbers(ours, *numbers))


@suites
@settings(deadline=None, max_examples=examples(30))
@given(
    runs=st.lists(st.tuples(st.integers(0, 65_535), st.integers(1, 3 * RESTART_PACKETS)), max_size=12),
    kept=st.integers(0, 12),
)
def test_no_index_is_used_twice_whatever_the_source_does(
    suite: str, runs: list[tuple[int, int]], kept: int
) -> None:
    """Each packet opens at a receiver that refuses replays; a successor goes on where it is told to."""
    key = key_of(suite)
    ours, theirs = sender(key), receiver(key)
    for place, (first, count) in enumerate(runs):
        if place == kept:
            ours = sender(key, ours.to_state())
        for number in range(first, first + count):
            try:
                sealed = protect(ours, rtp(number, b"%d %d" % (place, number)))
            except SrtpRefused:
                continue
            assert unprotect(theirs, sealed)[12:] == b"%d %d" % (place, number)


@suites
def test_a_successor_goes_on_with_the_numbers_of_a_source_that_began_again(suite: str) -> None:
    key = key_of(suite)
    ours, theirs = sender(key), receiver(key)
    unprotect(theirs, protect(ours, rtp(5000)))
    ours.checkpoint_due = False
    restart(ours, 100)
    assert ours.checkpoint_due, "a successor has to know it soon"
    successor = sender(key, ours.to_state())
    assert number_of(unprotect(theirs, protect(successor, rtp(108)))) == 5002
    assert number_of(unprotect(theirs, protect(successor, rtp(109)))) == 5003


@suites
@pytest.mark.parametrize("unsaved", [0, 40, CHECKPOINT_PACKETS - 1])
def test_a_source_that_begins_again_at_a_successor_gets_numbers_that_its_predecessor_has_not_used(
    suite: str, unsaved: int
) -> None:
    key = key_of(suite)
    ours, theirs = sender(key), receiver(key)
    unprotect(theirs, protect(ours, rtp(40_000)))
    state = ours.to_state()
    for number in range(40_001, 40_001 + unsaved):
        unprotect(theirs, protect(ours, rtp(number)))
    successor = sender(key, state)
    heard = 0
    for number in range(20_000, 20_000 + 2 * RESTART_PACKETS):
        try:
            sealed = protect(successor, rtp(number, b"after"))
        except SrtpRefused:
            continue
        assert unprotect(theirs, sealed)[12:] == b"after", "its index is new, and the receiver guesses it"
        heard += 1
    assert heard == 2 * RESTART_PACKETS - UNHEARD


def block(highest: int, ssrc: int = SSRC) -> bytes:
    return struct.pack("!IIIIII", ssrc, 0, highest, 3, 4, 5)


def sender_report(*blocks: bytes) -> bytes:
    header = struct.pack("!BBHI", 0x80 | len(blocks), 200, 6 + 6 * len(blocks), 1)
    return header + bytes(20) + b"".join(blocks)


def receiver_report(*blocks: bytes) -> bytes:
    return struct.pack("!BBHI", 0x80 | len(blocks), 201, 1 + 6 * len(blocks), 1) + b"".join(blocks)


def feedback(kind: int, fmt: int, words: bytes, ssrc: int = SSRC) -> bytes:
    return struct.pack("!BBHII", 0x80 | fmt, kind, 2 + len(words) // 4, 1, ssrc) + words


@suites
def test_what_an_end_reports_is_told_in_the_numbers_of_the_source(suite: str) -> None:
    theirs = sender(key_of(suite))
    ours = receiver(key_of(suite))
    ours.sent_offsets = {SSRC: 5000 - 99}
    reported = (
        sender_report(block(0x1_0002))
        + receiver_report(block(70, ssrc=7), block(5001))
        + feedback(205, 1, struct.pack("!HHHH", 5003, 0x8001, 3, 1))
    )
    opened = bytes(ours.unprotect(theirs.protect(memoryview(reported))))
    assert opened == (
        sender_report(block(0x1_0002 - 4901))
        + receiver_report(block(70, ssrc=7), block(100))
        + feedback(205, 1, struct.pack("!HHHH", 102, 0x8001, (3 - 4901) & 0xFFFF, 1))
    )


@pytest.mark.parametrize(
    "packet",
    [
        feedback(205, 1, struct.pack("!HH", 5003, 0), ssrc=7),
        feedback(205, 15, struct.pack("!HH", 5003, 0)),
        feedback(206, 1, struct.pack("!HH", 5003, 0)),
        receiver_report(block(5001))[:-4],
        rtcp(),
    ],
    ids=["another stream", "transport-wide", "of payload", "cut off", "anything"],
)
def test_what_tells_no_numbers_of_the_stream_stays(packet: bytes) -> None:
    changed = bytearray(packet)
    restore_numbers(memoryview(changed), {SSRC: 4901})
    assert changed == packet


@given(packet=st.binary(max_size=80), kind=st.sampled_from([200, 201, 205]))
def test_any_bytes_are_read_to_their_end_only(packet: bytes, kind: int) -> None:
    restore_numbers(memoryview(bytearray(b"\x81" + bytes([kind]) + packet)), {0: 1, SSRC: 4901})
