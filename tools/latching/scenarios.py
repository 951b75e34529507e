"""The scenarios: what happens to a call, and what the relay makes of it."""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tools.harness.media_peer import RTCP, RTP
from tools.latching.phone import Phone
from tools.latching.talk import IPV4, IPV6, Hosts, Talk
from tools.rtp import PACKET_S

STRANGERS: Final = 300

JUNK: Final = (b"", b"\0", b"\r\n\r\n", b"OPTIONS sip:100@198.51.100.1 SIP/2.0\r\n\r\n", b"\x80")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the call.

    Args:
        sent: packets of strangers, media or not.
        passed: how many of them reached a phone.
        leaked: packets of a phone that reached strangers.
        received_s: how much of the caller's voice is lost until the other phone hears it, where that is the
            question; None: all.
        answered_s: the same of the other phone's voice, from when the caller is received.
        asks_received: whether it is the question.
    """

    sent: int = 0
    passed: int = 0
    leaked: int = 0
    received_s: float | None = None
    answered_s: float | None = None
    asks_received: bool = False

    @property
    def good(self) -> bool:
        """Whether no stranger gained anything, and the phones hear each other."""
        well = self.received_s is not None and self.answered_s is not None
        return not self.passed and not self.leaked and (well or not self.asks_received)

    def __str__(self) -> str:
        parts = []
        if self.sent:
            parts.append(f"{self.passed} of {self.sent} passed")
            parts.append(f"{self.leaked} leaked")
        if self.asks_received:
            parts.append(_after("received", self.received_s))
            parts.append(_after("answered", self.answered_s))
        return ", ".join(parts)


def _after(what: str, seconds: float | None) -> str:
    if seconds is None:
        return f"not {what}"
    return f"{what} after {seconds:.2f} s" if seconds else f"{what} at once"


def _outcome(talk: Talk, *, asks_received: bool = False) -> Outcome:
    """What strangers gained so far; if it is the question, how soon the caller is received from now on."""
    received = answered = None
    if asks_received:
        received = talk.voice_lost_s(talk.alice, talk.bob)
        answered = talk.voice_lost_s(talk.bob, talk.alice, talk.alice)
    talk.talk(talk.alice, talk.bob, seconds=0.5)
    return Outcome(talk.attacks, talk.passed, talk.leaked, received, answered, asks_received)


# --- attacks on a call whose phones speak -----------------------------------------------------------------


def strangers_in_a_latched_call(talk: Talk) -> Outcome:
    """Many sources at once: each may have guessed right."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.spray(STRANGERS)
    return _outcome(talk)


def one_stranger_who_goes_on(talk: Talk) -> Outcome:
    """Injection: a stream beside that of the phone."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    _goes_on(talk, [talk.stranger()], talk.alice, talk.bob)
    return _outcome(talk)


def strangers_who_know_the_ssrc(talk: Talk) -> Outcome:
    """Injection into the phone's own stream, but not where it is.

    The first half of them is far ahead in it or behind, the other half has another clock.
    """
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    for number in range(STRANGERS):
        stranger = talk.stranger()
        stranger.ssrc = talk.alice.ssrc
        if number < STRANGERS // 2:
            stranger.sequence = talk.alice.sequence + 4096 + secrets.randbelow(0x8000)
        else:
            stranger.sequence = talk.alice.sequence + 1
            stranger.skew = (1 << 24) + secrets.randbits(31)
        talk.attack(stranger)
    return _outcome(talk)


# --- attacks on a call whose phone is silent --------------------------------------------------------------


def strangers_before_the_phone(talk: Talk) -> Outcome:
    """RTP bleed: the first packet gets the other phone's media."""
    talk.spray(STRANGERS)
    talk.talk(talk.bob, seconds=0.5)
    return _outcome(talk, asks_received=True)


def strangers_in_a_silence(talk: Talk) -> Outcome:
    """The phone is muted: it spoke before, and sends nothing for a while."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.talk(talk.bob, seconds=talk.latched_s)
    talk.spray(STRANGERS)
    _goes_on(talk, [talk.stranger()], talk.bob)
    return _outcome(talk, asks_received=True)


def strangers_at_a_held_call(talk: Talk) -> Outcome:
    """The phone puts the call on hold, and takes it back."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.negotiate(hold=True)
    talk.spray(STRANGERS)
    _goes_on(talk, [talk.stranger()], talk.bob)
    talk.negotiate()
    return _outcome(talk, asks_received=True)


def strangers_at_a_session_refresh(talk: Talk) -> Outcome:
    """A re-INVITE or UPDATE (RFC 4028) in which nothing is new; the phone is silent meanwhile."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.negotiate()
    talk.spray(STRANGERS)
    talk.talk(talk.bob, seconds=0.2)
    return _outcome(talk, asks_received=True)


def strangers_at_a_re_invite(talk: Talk) -> Outcome:
    """A re-INVITE that announces another port of the phone's, which speaks a little later."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.alice.move(talk.hosts.caller)
    talk.negotiate()
    talk.spray(STRANGERS)
    talk.talk(talk.bob, seconds=0.2)
    return _outcome(talk, asks_received=True)


def junk_before_the_phone(talk: Talk) -> Outcome:
    """Scans and keep-alives of other programs."""
    talk.junk(*JUNK)
    talk.talk(talk.bob, seconds=0.5)
    return _outcome(talk, asks_received=True)


def a_phone_that_speaks_late(talk: Talk) -> Outcome:
    """Where the SDP says, and after the time of learning."""
    talk.talk(talk.bob, seconds=talk.latched_s)
    talk.spray(1)
    talk.talk(talk.bob, seconds=0.2)
    return _outcome(talk, asks_received=True)


def the_call_before(talk: Talk) -> Outcome:
    """Its BYE was lost: both phones speak on, to ports that are another call's now."""
    talk.talk(talk.alice, talk.bob, seconds=0.5)
    talk.hang_up()
    talk.strangers_now()
    talk.begin()
    _goes_on(talk, talk.strangers, talk.bob)
    return _outcome(talk, asks_received=True)


# --- accidents ----------------------------------------------------------------------------------------------


def a_nat_that_maps_anew(talk: Talk) -> Outcome:
    """Another port of the same IP address; the stream goes on."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.alice.move(talk.hosts.caller)
    return _outcome(talk, asks_received=True)


def a_phone_in_another_network(talk: Talk) -> Outcome:
    """From Wi-Fi to mobile; the stream goes on."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.alice.move(talk.hosts.elsewhere)
    return _outcome(talk, asks_received=True)


def _goes_on(talk: Talk, strangers: Sequence[Phone], *phones: Phone) -> None:
    """Strangers speak for a second, beside `phones`."""
    for _ in range(50):
        for stranger in strangers:
            talk.attack(stranger)
        talk.talk(*phones, seconds=PACKET_S)


class Scenario(NamedTuple):
    """One row of the table.

    Attributes:
        title: what happens.
        run: makes it happen to a call.
        announced, hosts, component: see Talk.
        few_ports: whether the relay has no more ports than one call needs.
    """

    title: str
    run: Callable[[Talk], Outcome]
    announced: bool = True
    hosts: Hosts = IPV4
    component: int = RTP
    few_ports: bool = False

    def over(self, hosts: Hosts, component: int = RTP) -> "Scenario":
        """The same over IPv6, or of RTCP."""
        family = ", over IPv6" if hosts is IPV6 else ""
        kind = ", on RTCP ports" if component == RTCP else ""
        return self._replace(title=self.title + kind + family, hosts=hosts, component=component)

    def behind_nat(self) -> "Scenario":
        """The same with a phone whose SDP has a private address."""
        return self._replace(title=f"{self.title}, the phone is behind a NAT", announced=False)


LATCHED: Final = Scenario(f"{STRANGERS} strangers send to a latched call", strangers_in_a_latched_call)
GOES_ON: Final = Scenario("a stranger sends to a latched call for a second", one_stranger_who_goes_on)
KNOWS_SSRC: Final = Scenario(
    f"{STRANGERS} strangers send with the phone's SSRC, elsewhere in its stream", strangers_who_know_the_ssrc
)
BEFORE: Final = Scenario(f"{STRANGERS} strangers send before the phone does", strangers_before_the_phone)
SILENCE: Final = Scenario(
    f"{STRANGERS} strangers send while the phone is silent, one for a second", strangers_in_a_silence
)
HOLD: Final = Scenario(
    f"{STRANGERS} strangers send while the call is on hold, one for a second", strangers_at_a_held_call
)
REFRESH: Final = Scenario(f"{STRANGERS} strangers send at a session refresh", strangers_at_a_session_refresh)
RE_INVITE: Final = Scenario(
    f"{STRANGERS} strangers send at a re-INVITE with another port", strangers_at_a_re_invite
)
SCAN: Final = Scenario("empty packets, CRLF, a SIP scan before the phone sends", junk_before_the_phone)
LATE: Final = Scenario("a phone speaks late, a stranger sent one packet", a_phone_that_speaks_late)
REUSED: Final = Scenario(
    "the phones of an ended call send on to ports of another call",
    the_call_before,
    announced=False,
    few_ports=True,
)
REBOUND: Final = Scenario("a NAT gives the phone another port in mid-call", a_nat_that_maps_anew)
ROAMS: Final = Scenario("a phone goes on from another IP address", a_phone_in_another_network)

SCENARIOS: Final = (
    LATCHED,
    LATCHED.over(IPV6),
    LATCHED.over(IPV4, RTCP),
    GOES_ON,
    KNOWS_SSRC,
    BEFORE,
    BEFORE.over(IPV6),
    BEFORE.over(IPV4, RTCP),
    BEFORE.behind_nat(),
    SILENCE,
    HOLD,
    REFRESH,
    REFRESH.over(IPV6),
    REFRESH.behind_nat(),
    RE_INVITE,
    RE_INVITE.over(IPV6),
    RE_INVITE.behind_nat(),
    SCAN,
    LATE,
    REUSED,
    REBOUND,
    REBOUND.over(IPV6),
    REBOUND.over(IPV4, RTCP),
    ROAMS,
    ROAMS.over(IPV6),
    ROAMS.over(IPV4, RTCP),
)
"""All scenarios, in the order of the table."""
