"""Packets between a phone with DTLS-SRTP and a plain one, through a relay in another process."""

from tests.ng.ng_call import End, NgCall
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.talk import Talk
from tools.harness.waiting import eventually


class DtlsTalk(Talk):
    """One in which a handshake agrees on the keys.

    Args:
        phone: the one with DTLS.
    """

    def __init__(self, call: NgCall, plain: End, phone: DtlsPhone) -> None:
        super().__init__(call, plain, phone.proto)
        self.phone = phone

    def begin_by_plain(self, setup: str = "active") -> None:
        """The plain phone calls; the other one answers with that a=setup."""
        self.signal_by_plain(setup)
        self.agrees()

    def signal_by_plain(self, setup: str = "active") -> None:
        """The same without its handshakes."""
        offer = self.offer_to_secure(transport_protocol=self.proto)
        assert self.phone.read(offer.encode()) == "actpass"
        self.answer_of_secure(self.phone.sdp(setup))
        self.phone.begin(client=setup == "active")

    def begin_by_phone(self) -> None:
        """The phone with DTLS calls."""
        self.offer_of_secure(self.phone.sdp())
        self.phone.begin(client=self.phone.read(self.answer_to_secure().encode()) == "passive")
        self.agrees()

    def agrees(self) -> None:
        """The handshakes end; a client repeats what gets no answer."""
        eventually(self.phone.step, "the phone has keys")

    def send(self, packet: bytes, component: int) -> None:
        """See Talk."""
        self.phone.send(packet, component)

    def receive(self, component: int) -> bytes:
        """See Talk."""
        return self.phone.receive(component)
