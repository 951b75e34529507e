"""The scenarios: what happens to a call, and what the relay makes of it."""

import dataclasses
from collections.abc import Callable
from typing import Final, NamedTuple

from tools.latching.talk import Talk

STRANGERS: Final = 300
LIMIT_S: Final = 2.0
"""How long a phone that moved or speaks late tries to be received."""

JUNK: Final = (b"", b"\0", b"\r\n\r\n", b"OPTIONS sip:100@198.51.100.1 SIP/2.0\r\n\r\n", b"\x80")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the call.

    Args:
        sent: packets of strangers, by RTP or not.
        passed: how many of them reached the other phone.
        leaked: packets of the other phone that reached strangers.
        received_s: until the caller was received, where that is the question; None: not within LIMIT_S.
        answered_s: until the caller received the other phone.
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
        """Whether no stranger gained anything, and the phone lost nothing."""
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
    return f"not {what}" if seconds is None else f"{what} after {max(seconds, 0.01):.2f} s"


def _outcome(talk: Talk, *, asks_received: bool) -> Outcome:
    """What strangers gained so far; if it is the question, how soon the caller is received from now on."""
    received = answered = None
    if asks_received:
        received = talk.seconds_until(lambda: talk.bob.received, talk.alice, limit_s=LIMIT_S)
        answered = talk.seconds_until(lambda: talk.alice.received, talk.alice, talk.bob, limit_s=LIMIT_S)
    talk.talk(talk.alice, talk.bob, seconds=0.5)
    sent = len(talk.strangers) if talk.junk_sent else sum(stranger.sent for stranger in talk.strangers)
    return Outcome(sent, talk.passed, talk.leaked, received, answered, asks_received)


def strangers_in_a_latched_call(talk: Talk) -> Outcome:
    """Many sources at once: each may have guessed right."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.spray(STRANGERS)
    return _outcome(talk, asks_received=False)


def one_stranger_who_goes_on(talk: Talk) -> Outcome:
    """Injection: a stream beside that of the phone."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.talk(talk.alice, talk.bob, talk.stranger(), seconds=1.0)
    return _outcome(talk, asks_received=False)


def strangers_before_the_phone(talk: Talk) -> Outcome:
    """RTP bleed: the first packet gets the other phone's media."""
    talk.spray(STRANGERS)
    talk.talk(talk.bob, seconds=0.5)
    return _outcome(talk, asks_received=True)


def strangers_at_a_re_invite(talk: Talk) -> Outcome:
    """A session refresh: nothing changes, and nothing may be opened."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.negotiate()
    talk.spray(STRANGERS)
    talk.talk(talk.bob, seconds=0.2)
    return _outcome(talk, asks_received=False)


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


def a_nat_that_maps_anew(talk: Talk) -> Outcome:
    """Another port of the same IP address; the stream goes on."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.move_alice(talk.hosts.caller)
    return _outcome(talk, asks_received=True)


def a_phone_in_another_network(talk: Talk) -> Outcome:
    """From Wi-Fi to mobile; the stream goes on."""
    talk.talk(talk.alice, talk.bob, seconds=talk.latched_s)
    talk.move_alice(talk.hosts.elsewhere)
    return _outcome(talk, asks_received=True)


class Scenario(NamedTuple):
    """One row of the table.

    Attributes:
        title: what happens.
        run: makes it happen to a call.
        announced: see Talk.
    """

    title: str
    run: Callable[[Talk], Outcome]
    announced: bool = True


SCENARIOS: Final = (
    Scenario(f"{STRANGERS} strangers send to a latched call", strangers_in_a_latched_call),
    Scenario("a stranger sends to a latched call for a second", one_stranger_who_goes_on),
    Scenario(f"{STRANGERS} strangers send before the phone does", strangers_before_the_phone),
    Scenario("the same, and the phone is behind a NAT", strangers_before_the_phone, announced=False),
    Scenario(f"{STRANGERS} strangers send right after a re-INVITE", strangers_at_a_re_invite),
    Scenario("empty packets, CRLF, a SIP scan before the phone sends", junk_before_the_phone),
    Scenario("a phone speaks late, a stranger sent one packet", a_phone_that_speaks_late),
    Scenario("a NAT gives the phone another port in mid-call", a_nat_that_maps_anew),
    Scenario("a phone goes on from another IP address", a_phone_in_another_network),
)
"""All scenarios, in the order of the table."""
