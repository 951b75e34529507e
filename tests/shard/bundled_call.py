"""A call between a phone with a bundle and a plain one, in a relay under test."""

from collections.abc import Sequence

from nh.commands import BundleOptions
from tests.shard.ng_testbed import NgTestbed, places
from tests.shard.testbed import Where
from tests.sip.sdp import MediaLine, read_sdp
from tests.webrtc.bundle_phone import BundlePhone, plain_packet, write_media
from tools.harness.media_peer import RTP, MediaPeer

ACCEPT = BundleOptions(accept=True)
OFFER = BundleOptions(offer=True)
REQUIRE = BundleOptions(offer=True, require=True)
STRICT = BundleOptions(offer=True, require=True, strict=True)


def plain_sdp(plain: Sequence[MediaPeer], *, media: int = 2, formats: Sequence[int] = (0, 96)) -> str:
    ports = [each.port for each in plain]
    return write_media(ports[:media], [[], []], address=plain[0].address, formats=formats)


def media_of(sdp: bytes) -> list[MediaLine]:
    return read_sdp(sdp.decode())


class BundledCall:
    """A call between a phone with a bundle and a plain one, and the packets between them."""

    def __init__(self, testbed: NgTestbed, phone: BundlePhone, plain: Sequence[MediaPeer]) -> None:
        self.testbed = testbed
        self.phone = phone
        self.plain = plain
        self.phone_sends_to: list[Where] = []
        self.plain_sends_to: list[Where] = []
        self.sequence = 0

    def begin_by_phone(self, sdp: str = "", *, media: int = 2) -> tuple[bytes, bytes]:
        """The phone with the bundle calls; what each end gets."""
        offer = self.testbed.offer((sdp or self.phone.sdp()).encode(), bundle=ACCEPT)
        answer = self.testbed.answer(plain_sdp(self.plain, media=media).encode())
        self.plain_sends_to, self.phone_sends_to = places(offer), places(answer)
        return offer, answer

    def begin_by_plain(self, bundle: BundleOptions = OFFER, sdp: str = "") -> tuple[bytes, bytes]:
        """The plain phone calls; what each end gets."""
        offer = self.testbed.offer((sdp or plain_sdp(self.plain)).encode(), bundle=bundle)
        answer = self.testbed.answer(self.phone.sdp().encode())
        self.phone_sends_to, self.plain_sends_to = places(offer), places(answer)
        return offer, answer

    @property
    def one_port(self) -> Where:
        """Where the phone sends all of its media."""
        return self.phone_sends_to[0]

    def goes_both_ways(self, mids: Sequence[str | None] = (None, None)) -> None:
        """RTP of each medium arrives: at the port of its own, or at the one of all."""
        for medium, plain in enumerate(self.plain):
            packet = self.phone.packet(medium, b"to plain %d" % medium, mids[medium])
            self.testbed.passes(self.phone.peer, self.one_port, plain, RTP, packet)
            self.sequence += 1
            packet = plain_packet(medium, self.sequence, b"to the bundle %d" % medium)
            source = self.testbed.passes(plain, self.plain_sends_to[medium], self.phone.peer, RTP, packet)
            assert source == self.one_port
