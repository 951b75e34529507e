"""One call with media, and strangers who send to the ports that the relay has for it."""

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from tools.harness.media_peer import RTP
from tools.latching.phone import Phone, Stranger
from tools.rtp import PACKET_S
from tools.rtpload.controls.interface import Control
from tools.rtpload.ends import Endpoint, MediaEnd, TransactionKey

LATCHED_S: Final = 4.6
"""After this time all relays have learned where the phones are: nh after three seconds, rtpengine
after three to four, because it counts whole ones."""

LIMIT_S: Final = 2.0


class Hosts(NamedTuple):
    """The addresses of a call.

    Attributes:
        caller, callee, stranger: of those.
        elsewhere: the caller's in another network.
        private: what a phone behind a NAT announces.
        relay: the relay's.
    """

    caller: str
    callee: str
    stranger: str
    elsewhere: str
    private: str
    relay: str


IPV4: Final = Hosts("127.0.0.11", "127.0.0.12", "127.0.0.66", "127.0.0.21", "192.168.1.11", "127.0.0.1")
IPV6: Final = Hosts("2001:db8::11", "2001:db8::12", "2001:db8::66", "2001:db8::21", "fd00::11", "2001:db8::1")

IPV6_ADDRESSES: Final = tuple(
    f"ip address add {address}/128 dev lo nodad" for address in IPV6 if address != IPV6.private
)
"""The commands that a network namespace needs first."""


class Talk:
    """A call of Alice and Bob. Construction sets it up.

    Args:
        control: tells the relay of the call.
        announced: whether Alice's SDP says where her media come from; else she is behind a NAT.
        hosts: the addresses.
        component: whose packets are counted, and who is attacked: RTP or RTCP.
        latched_s: after this time the relay has learned where the phones are.
        limit_s: how long a phone that moved or speaks late tries to be received.

    Attributes:
        alice, bob: the phones.
        strangers: the phones of attackers.
        attacks: how many there were.
        announces: the address of Alice's SDP.
    """

    def __init__(
        self,
        control: Control,
        *,
        announced: bool = True,
        hosts: Hosts = IPV4,
        component: int = RTP,
        latched_s: float = LATCHED_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._control = control
        self.hosts = hosts
        self.component = component
        self.latched_s = latched_s
        self.limit_s = limit_s
        self._exit = contextlib.ExitStack()
        self.alice, self.bob = self._phone(hosts.caller), self._phone(hosts.callee)
        self.announces = hosts.caller if announced else hosts.private
        self.strangers: list[Phone] = []
        self.attacks = 0
        self.begin()

    # --- signalling -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """INVITE and 200 OK."""
        token = secrets.token_hex(6)
        self.key = TransactionKey(f"{token}@latching", f"alice-{token}", f"bob-{token}", 0)
        self.negotiate()

    def negotiate(self, *, hold: bool = False) -> None:
        """INVITE and 200 OK; in a call: a re-INVITE of Alice's, or a session refresh if nothing is new."""
        self.key = self.key._replace(cseq=self.key.cseq + 1)
        caller, callee = _end(self.announces, self.alice), _end(self.hosts.callee, self.bob)
        targets = self._control.negotiate(self.key, caller, callee, hold=hold)
        self.alice.target = (targets.caller.rtp.address, targets.caller.rtp.port)
        if not hold:
            self.bob.target = (targets.callee.rtp.address, targets.callee.rtp.port)

    def hang_up(self) -> None:
        """BYE."""
        self._control.tear_down(self.key)

    # --- media ----------------------------------------------------------------------------------------

    def talk(self, *phones: Phone, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """`phones` send every 20 ms, and Alice and Bob receive, for so long or until the condition holds."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not until():
            for phone in phones:
                phone.send()
            time.sleep(PACKET_S)
            self.alice.receive()
            self.bob.receive()

    def spray(self, strangers: int) -> None:
        """Each of so many strangers sends one packet of a stream of its own."""
        for _ in range(strangers):
            self.attack(self.stranger())

    def attack(self, stranger: Phone) -> None:
        """A stranger sends the next packet of a stream."""
        stranger.send()
        self.attacks += 1

    def junk(self, *payloads: bytes) -> None:
        """A stranger sends what is no media."""
        stranger = self.stranger()
        for payload in payloads:
            stranger.send_packet(payload, self.component)
            self.attacks += 1

    def stranger(self) -> Phone:
        """One more stranger, who knows where Alice sends to.

        It has none of her ports by chance: a relay that knows nothing else of her takes that for a sign.
        """
        while True:
            phone = Stranger(self.hosts.stranger, self.component)
            self._exit.callback(phone.close)
            if not phone.ports & self.alice.ports:
                break
        phone.target = self.alice.target
        self.strangers.append(phone)
        return phone

    def strangers_now(self) -> None:
        """Alice and Bob become strangers, who speak on, and others take their places."""
        self.strangers += [self.alice, self.bob]
        self.alice, self.bob = self._phone(self.hosts.caller), self._phone(self.hosts.callee)

    def voice_lost_s(self, speaker: Phone, listener: Phone, *also: Phone) -> float | None:
        """How much of the speaker's voice is lost until the listener hears it; None: all within the limit.

        It is counted in packets, so that a busy host changes nothing.
        """
        before, received = speaker.sent, listener.received[speaker.token]
        self.talk(speaker, *also, seconds=self.limit_s, until=lambda: received[-1:] > [before])
        first = next((number for number in received if number > before), None)
        return None if first is None else (first - before - 1) * PACKET_S

    # --- what strangers gained --------------------------------------------------------------------------

    @property
    def passed(self) -> int:
        """How many packets of strangers reached Bob, or Alice."""
        alice, bob = self.alice.token, self.bob.token
        return sum(
            len(numbers)
            for phone in (self.alice, self.bob)
            for token, numbers in phone.received.items()
            if token not in (alice, bob)
        )

    @property
    def leaked(self) -> int:
        """How many packets of Bob's, or Alice's, reached strangers."""
        for stranger in self.strangers:
            stranger.receive()
        both = (self.alice.token, self.bob.token)
        return sum(len(stranger.received[token]) for stranger in self.strangers for token in both)

    def _phone(self, address: str) -> Phone:
        phone = Phone(address, self.component)
        self._exit.callback(phone.close)
        return phone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._exit.close()


def _end(address: str, phone: Phone) -> MediaEnd:
    return MediaEnd(Endpoint(address, phone.port), Endpoint(address, phone.port + 1))
