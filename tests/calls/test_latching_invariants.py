"""nh.calls.latching under packets of any bytes from any sources at any time: what holds in every order."""

import dataclasses

from hypothesis import assume, given
from hypothesis import strategies as st

from nh.calls.latching.claims import Carried, read_claim
from nh.calls.latching.earlier import EarlierSender
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.state import MAX_TRIALS
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtp.stream import MAX_DROPOUT
from tests.calls.fakes import START
from tests.calls.legs import (
    ANNOUNCED,
    ANY,
    ANY_2,
    EXACT,
    SAME_IP,
    SAME_IP_2,
    SAME_PORT,
    SAME_PORT_2,
    SIGNALLED,
    hear,
    make_leg,
)
from tests.calls.rtp import rtp_packet

PHONE, FRESH = 0xA11CE, 0xF2E54
"""SSRCs of the phone, and of a stream that no other packet belongs to."""

LATCHING = st.sampled_from([policy for policy in SourcePolicy if make_leg(policy).latches])
SETTLING = LATCHING.filter(lambda policy: policy is not SourcePolicy.DELAYED)
"""Those that learn from the first packet on; `delayed` admits all for a while."""

SOURCES = st.sampled_from([EXACT, SAME_IP, SAME_IP_2, SAME_PORT, SAME_PORT_2, ANY, ANY_2, SIGNALLED])
STRANGERS = st.sampled_from([SAME_PORT, SAME_PORT_2, ANY, ANY_2])
"""Sources of IP addresses that neither SDP nor signalling names."""

SSRCS = st.integers(1, 5)
JUNK = st.binary(max_size=40)
MEDIA = st.builds(rtp_packet, st.integers(0, 40), st.integers(0, 6400), ssrc=SSRCS)
REPORTS = SSRCS.map(lambda ssrc: b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big"))
PACKETS = MEDIA | REPORTS | JUNK
GAPS_S = st.floats(0, 0.1) | st.floats(0, 5)
HISTORY = st.lists(st.tuples(GAPS_S, SOURCES, PACKETS), max_size=20)
CARRIED = st.sampled_from(
    [
        Carried.RTP | Carried.PADDED,
        Carried.RTCP,
        Carried.RTP | Carried.RTCP,
        Carried.RTP | Carried.STUN | Carried.DTLS | Carried.ZRTP,
        Carried.UDPTL,
        Carried.OTHER,
    ]
)


def new_leg(policy: SourcePolicy, carried: Carried, *, nat: bool = False) -> Leg:
    """A leg of a phone whose SDP, or signalling, says where it is."""
    return make_leg(policy, signalled_from=SIGNALLED.address if nat else "", relatch_s=2.0, carried=carried)


@given(LATCHING, CARRIED, st.booleans(), HISTORY, GAPS_S)
def test_the_announced_endpoint_is_never_shut_out(
    policy: SourcePolicy,
    carried: Carried,
    nat: bool,
    history: list[tuple[float, Endpoint, bytes]],
    gap_s: float,
) -> None:
    leg, now = new_leg(policy, carried, nat=nat), START
    for each_s, source, packet in history:
        now += each_s
        hear(leg, source, packet, now=now)
    now += gap_s
    packet = {Carried.RTCP: b"\x80\xc9\0\1" + FRESH.to_bytes(4, "big"), Carried.UDPTL: b"\0\1\1\0\0\0"}.get(
        carried, rtp_packet(1, ssrc=FRESH)
    )
    assert read_claim(memoryview(packet), carried) is not None
    if policy is SourcePolicy.LEARNED:
        assume(leg.rank is None or now < leg.window_ends)  # later it keeps what it has learned
        assume(not leg.latched or leg.source == EXACT)
    if policy is SourcePolicy.FIRST:
        assume(leg.source in (None, EXACT))
    assert hear(leg, EXACT, packet, now=now)
    assert leg.destination == ANNOUNCED


@dataclasses.dataclass
class Call:
    """A leg, and the phone that speaks to it every 20 ms."""

    leg: Leg
    phone: Endpoint
    now: float = START
    number: int = 0

    def speak(self) -> bool:
        """The next packet; returns whether it is admitted."""
        self.now += 0.02
        self.number += 1
        return hear(self.leg, self.phone, self.voice(self.number), now=self.now)

    @staticmethod
    def voice(number: int, timestamp: int | None = None) -> bytes:
        """One packet of the phone's stream."""
        return rtp_packet(number, 160 * number if timestamp is None else timestamp, ssrc=PHONE)


WHILE_IT_SPEAKS = st.lists(st.tuples(STRANGERS, MEDIA | REPORTS | JUNK), max_size=8)


@given(
    SETTLING,
    st.sampled_from([EXACT, SAME_IP, SIGNALLED]),
    st.lists(WHILE_IT_SPEAKS, min_size=1, max_size=30),
    st.integers(0, 200),
)
def test_no_stranger_takes_a_leg_whose_phone_speaks(
    policy: SourcePolicy, phone: Endpoint, attacks: list[list[tuple[Endpoint, bytes]]], before: int
) -> None:
    call = Call(new_leg(policy, Carried.RTP | Carried.PADDED, nat=True), phone)
    assume(call.leg.fits(phone) is not None)
    for _ in range(before + 1):
        assert call.speak()
    for attack in attacks:
        for stranger, packet in attack:
            assert not hear(call.leg, stranger, packet, now=call.now)
        assert call.speak()
        assert call.leg.destination == phone


@given(
    SETTLING,
    STRANGERS,
    st.lists(
        st.tuples(st.integers(MAX_DROPOUT, 0xFFFF), st.integers(0, 2**32 - 1))
        | st.tuples(st.integers(1, MAX_DROPOUT - 1), st.integers(2**18, 2**32 - 2**18)),
        max_size=20,
    ),
)
def test_the_ssrc_alone_takes_no_leg(
    policy: SourcePolicy, stranger: Endpoint, guesses: list[tuple[int, int]]
) -> None:
    """The attacker has to know where the stream is: ahead by a minute at most, with a timestamp near it."""
    call = Call(new_leg(policy, Carried.RTP | Carried.PADDED), EXACT)
    for ahead, ticks in guesses:
        assert call.speak()
        guess = call.voice(call.number + ahead, 160 * call.number + ticks)
        assert not hear(call.leg, stranger, guess, now=call.now)
        assert call.leg.destination == EXACT


@given(
    st.sampled_from([SourcePolicy.HEURISTIC, SourcePolicy.FIRST]),
    st.lists(st.tuples(SOURCES, st.integers(1, 30)), min_size=1, max_size=6),
    st.data(),
)
def test_a_phone_that_moves_is_followed_and_its_late_packets_do_not_win(
    policy: SourcePolicy, stays: list[tuple[Endpoint, int]], data: st.DataObject
) -> None:
    call = Call(new_leg(policy, Carried.RTP | Carried.PADDED), ANY)
    passed: list[Endpoint] = []
    for source, packets in stays:
        call.phone = source
        for _ in range(packets):
            assert call.speak()
            assert call.leg.destination == source
        if passed and (late := data.draw(st.sampled_from(passed))) != source:
            number = data.draw(st.integers(max(1, call.number - 40), call.number))
            hear(call.leg, late, call.voice(number), now=call.now)
            assert call.leg.destination == source
        passed.append(source)


@given(CARRIED, SOURCES, st.sets(SSRCS), HISTORY)
def test_the_call_before_takes_no_port_with_its_old_stream(
    carried: Carried, source: Endpoint, ssrcs: set[int], history: list[tuple[float, Endpoint, bytes]]
) -> None:
    assume(source != EXACT)
    leg, now = new_leg(SourcePolicy.HEURISTIC, carried), START
    leg.earlier = (EarlierSender(source, frozenset(ssrcs), START + 60),)
    for gap_s, each, packet in history:
        now += gap_s
        claim = read_claim(memoryview(packet), carried)
        old = each == source and (claim is None or claim.ssrc is None or not ssrcs or claim.ssrc in ssrcs)
        held = leg.source
        hear(leg, each, packet, now=now)
        if old and now < START + 60 and held != source:
            # what goes on with a stream that the leg has heard meanwhile is its sender's
            assume(claim is None or claim.ssrc not in {stream.ssrc for stream in leg.streams})
            assert leg.source == held


@given(
    st.sampled_from(SourcePolicy),
    CARRIED,
    st.lists(
        st.tuples(
            GAPS_S,
            st.builds(Endpoint, st.sampled_from(["192.0.2.5", "2001:db8::5"]), st.integers(1, 40)),
            PACKETS,
        )
    ),
)
def test_streams_on_trial_are_few_however_many_strangers_there_are(
    policy: SourcePolicy, carried: Carried, history: list[tuple[float, Endpoint, bytes]]
) -> None:
    leg, now = new_leg(policy, carried, nat=True), START
    for gap_s, source, packet in history:
        now += gap_s
        held = leg.source
        admitted = hear(leg, source, packet, now=now)
        assert leg.source == held or (admitted and leg.source == source)
        assert len(leg.trials or ()) <= MAX_TRIALS
