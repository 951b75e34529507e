"""A plain phone, which sends back what it hears and sees: so a browser gets a picture that it can decode."""

import dataclasses
import select
import socket
import struct
import threading
from collections.abc import Sequence

from tests.webrtc.bundle_phone import KINDS
from tools.harness.closing import Closing
from tools.harness.media_peer import RTCP, RTP, MediaPeer

_POLL_S = 0.05
_OURS = 1
"""What turns the SSRC of a stream into that of its echo."""

_FEEDBACK = (205, 206)


@dataclasses.dataclass
class Heard:
    """What has arrived of one medium.

    Attributes:
        packets: of RTP, each once.
        lost: sequence numbers between those that came and did not come themselves.
        reports: packets of RTCP.
    """

    packets: int = 0
    lost: int = 0
    reports: int = 0


class EchoPhone(Closing):
    """Audio of PCMU and video of VP8 as plain RTP, each at ports of its own. It runs until it is closed."""

    def __init__(self) -> None:
        self.media = [MediaPeer("127.0.0.1") for _ in KINDS]
        self._seen: list[dict[int, set[int]]] = [{} for _ in KINDS]
        self._reports = [0] * len(KINDS)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo phone")
        self._thread.start()

    def sdp(self, video: int = 96, *, media: int = 2, without: Sequence[int] = ()) -> str:
        """Its SDP.

        Args:
            video: the payload type of its video.
            media: how many there are.
            without: those that it rejects.
        """
        lines = ["v=0", "o=phone 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        formats = (
            ("0 101", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000"),
            (str(video), f"a=rtpmap:{video} VP8/90000"),
        )
        for medium, (peer, kind, (numbers, line)) in enumerate(
            zip(self.media[:media], KINDS, formats, strict=False)
        ):
            lines += [f"m={kind} {0 if medium in without else peer.port} RTP/AVP {numbers}", line]
            lines.append("a=sendrecv")  # aiortc does not know that this is the default
        if media > 1:
            lines += [f"a=rtcp-fb:{video} nack pli", f"a=rtcp-fb:{video} ccm fir"]
        return "\r\n".join([*lines, ""])

    def answer(self, offer: str) -> str:
        """Its answer to an offer, with the payload type that the offer has for VP8."""
        numbers = [
            line.removeprefix("a=rtpmap:").split()[0]
            for line in offer.splitlines()
            if line.startswith("a=rtpmap:") and line.upper().endswith(" VP8/90000")
        ]
        ports = [line.split()[1] for line in offer.splitlines() if line.startswith("m=")]
        rejected = [medium for medium, port in enumerate(ports) if port == "0"]
        return self.sdp(int(numbers[0]) if numbers else 96, media=len(ports) or 2, without=rejected)

    def heard(self, medium: int) -> Heard:
        """What has arrived so far."""
        found = Heard(reports=self._reports[medium])
        for numbers in list(self._seen[medium].values()):
            known = set(numbers)
            found.packets += len(known)
            # a call of a test is shorter than a wrap of the sequence number
            first, last = _ends(known)
            found.lost += last - first + 1 - len(known)
        return found

    def close(self) -> None:
        """Hang up."""
        self._closing.set()
        self._thread.join()
        for peer in self.media:
            peer.close()

    def _run(self) -> None:
        sockets = {
            peer.sockets[component]: (medium, component)
            for medium, peer in enumerate(self.media)
            for component in (RTP, RTCP)
        }
        while not self._closing.is_set():
            for sock in select.select(list(sockets), [], [], _POLL_S)[0]:
                packet, source = sock.recvfrom(65_536)
                medium, component = sockets[sock]
                if component == RTP:
                    self._echo(sock, medium, packet, source)
                else:
                    self._echo_feedback(sock, medium, packet, source)

    def _echo(self, sock: socket.socket, medium: int, packet: bytes, source: tuple[str, int]) -> None:
        if len(packet) < 12 or packet[0] >> 6 != 2:
            return
        number, _, ssrc = struct.unpack_from("!HII", packet, 2)
        seen = self._seen[medium].setdefault(ssrc, set())
        seen.add(_unwrapped(number, seen))
        sock.sendto(packet[:8] + struct.pack("!I", ssrc ^ _OURS) + packet[12:], source)

    def _echo_feedback(
        self, sock: socket.socket, medium: int, packet: bytes, source: tuple[str, int]
    ) -> None:
        """What a browser misses of the echo, its own camera has to send again."""
        self._reports[medium] += 1
        at = 0
        while at + 12 <= len(packet):
            size = 4 * (struct.unpack_from("!H", packet, at + 2)[0] + 1)
            if packet[at + 1] in _FEEDBACK and at + size <= len(packet):
                sender, about = struct.unpack_from("!II", packet, at + 4)
                head = packet[at : at + 4] + struct.pack("!II", sender ^ _OURS, about ^ _OURS)
                sock.sendto(head + packet[at + 12 : at + size], source)
            at += size


def _unwrapped(number: int, seen: set[int]) -> int:
    """The number of a packet, which goes on above 65,535."""
    if not seen:
        return number + 0x10000
    latest = max(seen)
    return latest + ((number - latest + 0x8000) & 0xFFFF) - 0x8000


def _ends(numbers: set[int]) -> tuple[int, int]:
    return (min(numbers), max(numbers)) if numbers else (0, -1)
