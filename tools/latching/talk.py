"""One call with media, and strangers who send to the port that the relay has for the caller."""

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from tools.harness.rtp_phone import Phone
from tools.rtp import PACKET_S
from tools.rtpload.controls.interface import Control
from tools.rtpload.ends import Endpoint, MediaEnd, TransactionKey

LATCHED_S: Final = 4.6
"""After this time all relays have learned where the phones are: nh after three seconds, rtpengine
after three to four, because it counts whole ones."""


class Hosts(NamedTuple):
    """The addresses of a call; `private` is what a phone behind a NAT announces."""

    caller: str
    callee: str
    stranger: str
    elsewhere: str
    private: str


IPV4: Final = Hosts("127.0.0.11", "127.0.0.12", "127.0.0.66", "127.0.0.21", "192.168.1.11")
IPV6: Final = Hosts("::1", "::1", "::1", "::1", "fd00::11")
"""Loopback has one address, so that strangers differ from phones by their ports alone."""


class Talk:
    """A call of Alice and Bob. Construction sets it up.

    Args:
        control: tells the relay of the call.
        announced: whether Alice's SDP says where her media come from; else she is behind a NAT.
        hosts: the addresses.
        latched_s: after this time the relay has learned where the phones are.
    """

    def __init__(
        self, control: Control, *, announced: bool = True, hosts: Hosts = IPV4, latched_s: float = LATCHED_S
    ) -> None:
        self._control = control
        self.hosts = hosts
        self.latched_s = latched_s
        token = secrets.token_hex(6)
        self._key = TransactionKey(f"{token}@latching", f"alice-{token}", f"bob-{token}", 1)
        self._exit = contextlib.ExitStack()
        self.alice, self.bob = self._phone(hosts.caller), self._phone(hosts.callee)
        self._alice_says = hosts.caller if announced else hosts.private
        self.alice.expects, self.bob.expects = self.bob.ssrc, self.alice.ssrc
        self.strangers: list[Phone] = []
        self.junk_sent = 0
        self.negotiate()

    def negotiate(self) -> None:
        """INVITE and 200 OK; once more: a re-INVITE that changes nothing."""
        caller, callee = _end(self._alice_says, self.alice), _end(self.hosts.callee, self.bob)
        targets = self._control.negotiate(self._key, caller, callee, hold=False)
        self.alice.target = (targets.caller.rtp.address, targets.caller.rtp.port)
        self.bob.target = (targets.callee.rtp.address, targets.callee.rtp.port)
        self._key = self._key._replace(cseq=self._key.cseq + 1)

    def talk(self, *phones: Phone, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """`phones` send every 20 ms, and all receive, for so long or until the condition holds."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not until():
            for phone in phones:
                phone.send()
            time.sleep(PACKET_S)
            self._receive()

    def spray(self, strangers: int) -> None:
        """Each of so many strangers sends one packet of a stream of its own."""
        for _ in range(strangers):
            self.stranger().send()
        self._receive()

    def stranger(self) -> Phone:
        """One more stranger, who knows where Alice sends to."""
        phone = self._phone(self.hosts.stranger)
        phone.target = self.alice.target
        self.strangers.append(phone)
        return phone

    def junk(self, *payloads: bytes) -> None:
        """A stranger sends what is no RTP."""
        for payload in payloads:
            stranger = self.stranger()
            assert stranger.target is not None
            stranger.socket.sendto(payload, stranger.target)
            self.junk_sent += 1
        self._receive()

    def move_alice(self, address: str) -> None:
        """Alice's NAT gives her another port, and perhaps another address; her stream goes on."""
        moved = socket.socket(self.alice.socket.family, socket.SOCK_DGRAM)
        moved.setblocking(False)
        moved.bind((address, 0))
        self.alice.close()
        self.alice.socket = moved

    def seconds_until(self, received: Callable[[], int], *phones: Phone, limit_s: float) -> float | None:
        """How long `phones` send until `received()` grows; None: it does not within the limit."""
        before, start = received(), time.monotonic()
        self.talk(*phones, seconds=limit_s, until=lambda: received() > before)
        return time.monotonic() - start if received() > before else None

    @property
    def passed(self) -> int:
        """How many packets of strangers reached Bob."""
        return self.bob.strangers

    @property
    def leaked(self) -> int:
        """How many packets of Bob's reached strangers."""
        return sum(stranger.strangers for stranger in self.strangers)

    def _phone(self, address: str) -> Phone:
        phone = Phone(address)
        self._exit.callback(phone.close)
        return phone

    def _receive(self) -> None:
        phones: Sequence[Phone] = (self.alice, self.bob, *self.strangers)
        for phone in phones:
            phone.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._exit.close()


def _end(address: str, phone: Phone) -> MediaEnd:
    return MediaEnd(Endpoint(address, phone.port), Endpoint(address, phone.port + 1))
