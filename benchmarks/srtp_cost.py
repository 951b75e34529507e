"""What SRTP on one side of a call costs a packet of speech in user space, beside a plain one, in one run.

    python -m benchmarks.srtp_cost [--relays]

Bursts of 40 packets (RTP, 172 bytes) go through a relay in this process over loopback; what is counted is the
CPU of its turns: receive, authenticate, decrypt, measure, encrypt, send. The figure is the 5th percentile of
150 bursts, in three rounds. Packets of a bundle have header extensions besides, as browsers send them.

--relays: nh and rtpengine as processes instead, each with the same calls (benchmarks.srtp_relays).
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import struct
import time
from typing import Final

from benchmarks.srtp_relays import COUNTER_MODE, GCM, PLAIN, Kind, measure_relays
from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import Answer, BundleOptions, Offer, OfferOptions
from nh.loop import SelectorLoop
from nh.results import Rewritten
from nh.sdp.crypto import write_crypto
from nh.sdp.parse import parse
from nh.shard.relay import Relay
from nh.srtp.ciphers import BUFFER_BYTES
from nh.srtp.keys import new_master_key
from nh.srtp.sender import SrtpSender
from nh.srtp.suites import SUITES
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

LOOPBACK: Final = "127.0.0.1"
PACKETS: Final = 40
BURSTS: Final = 150
ROUNDS: Final = 3

EXTENSIONS: Final = bytes.fromhex("bede0003 10ff 22112233 311234 000000")
"""Three elements, as browsers send them with each packet (RFC 8285 4.2)."""


KINDS: Final = (
    PLAIN,
    *(Kind(suite, opens) for suite in (COUNTER_MODE, GCM) for opens in (True, False)),
    Kind(shares="rtcp-mux"),
    Kind(GCM, shares="rtcp-mux"),
    Kind(shares="bundle"),
    Kind(GCM, shares="bundle"),
)


class SpeechCall:
    """A relay in this process, and one call through it.

    Args:
        ports: of the relay.
        kind: of the call.
    """

    def __init__(self, ports: range, kind: Kind) -> None:
        self._loop = SelectorLoop()
        interfaces = (Interface("default", LOOPBACK, LOOPBACK),)
        config = RelayConfig(RelaySettings(), ports=(ports[0], ports[-1]), interfaces=interfaces)
        self._relay = Relay(config)
        self._relay.attach(self._loop)
        self._caller, self._callee, self._video = (MediaPeer(LOOPBACK) for _ in range(3))
        self._kind = kind
        self._protector: SrtpSender | None = None
        bundled = kind.shares == "bundle"
        offer, answer = self._caller_sdp(), _sdp([self._callee, self._video][: 1 + bundled])
        options = OfferOptions(
            transport_protocol="RTP/AVP", mux_accept=True, bundle=BundleOptions(accept=bundled)
        )
        to_callee = self._execute(Offer(b"call", b"caller", b"", b"", offer, options))
        to_caller = self._execute(Answer(b"call", b"caller", b"callee", b"", answer, OfferOptions()))
        ends = (self._caller, to_caller, self._callee), (self._callee, to_callee, self._caller)
        self._sender, told, receiver = ends[0 if kind.opens else 1]
        self._target = (LOOPBACK, parse(told).media[0].port)
        self._receiver = receiver.sockets[0]
        self._receiver.setblocking(False)

    def _caller_sdp(self) -> bytes:
        kind, lines = self._kind, []
        if kind.suite:
            key = new_master_key(SUITES[kind.suite])
            lines.append(write_crypto(1, key).decode())
            if kind.opens:
                self._protector = SrtpSender(key, bytearray(BUFFER_BYTES))
        if kind.shares:
            lines.append("a=rtcp-mux")
        bundled = kind.shares == "bundle"
        lines += ["a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"] if bundled else []
        return _sdp([self._caller] * (1 + bundled), "RTP/SAVP" if kind.suite else "RTP/AVP", lines, bundled)

    def _execute(self, command: Offer | Answer) -> bytes:
        result = self._relay.execute(command)
        assert isinstance(result, Rewritten)
        return result.sdp

    def cost_us(self) -> float:
        """CPU of the relay for each packet of one burst."""
        for _ in range(PACKETS):
            self._sender.send_raw(self._next_packet(), self._target)
        spent, arrived = 0.0, 0
        while arrived < PACKETS:
            began = time.thread_time()
            self._loop.turn(0.01)
            spent += time.thread_time() - began
            arrived += self._receive()
        return spent / PACKETS * 1e6

    def _next_packet(self) -> bytes:
        packet = self._sender.next_packet(bytes(160))
        if self._kind.shares == "bundle":
            packet = struct.pack("!B", packet[0] | 0x10) + packet[1:12] + EXTENSIONS + packet[12:]
        if self._protector is not None:
            packet = bytes(self._protector.protect(memoryview(packet)))
        return packet

    def _receive(self) -> int:
        count = 0
        while True:
            try:
                self._receiver.recv(4096)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        """End the relay and the phones."""
        self._relay.close()
        self._loop.close()
        for peer in (self._caller, self._callee, self._video):
            peer.close()


def measure(ports: range, kind: Kind) -> float:
    """The 5th percentile of all bursts, µs."""
    call = SpeechCall(ports, kind)
    bursts = sorted(call.cost_us() for _ in range(BURSTS))
    call.close()
    return bursts[BURSTS // 20]


def _sdp(
    peers: list[MediaPeer], proto: str = "RTP/AVP", lines: list[str] | None = None, bundled: bool = False
) -> bytes:
    """Audio, or audio and video, at the ports of peers, with the same lines for each medium."""
    text = [f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0"]
    text += ["a=group:BUNDLE 0 1"] if bundled else []
    for number, peer in enumerate(peers):
        text.append(f"m={('audio', 'video')[number]} {peer.port} {proto} {96 * number}")
        text += [f"a=mid:{number}"] if bundled else []
        text += lines or []
    return ("\r\n".join(text) + "\r\n").encode()


def measure_here() -> None:
    """Measure all kinds in turn, and print the least of the rounds with its ratio to a plain packet."""
    least: dict[Kind, float] = {}
    with claim_ports(8) as ports:
        for _ in range(ROUNDS):
            for kind in KINDS:
                cost = measure(ports, kind)
                least[kind] = min(cost, least.get(kind, cost))
    for kind, cost in least.items():
        print(f"{kind}: {cost:.2f} µs, {cost / least[PLAIN]:.2f} times a plain one")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.srtp_cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--relays", action="store_true", help="nh and rtpengine as processes")
    if parser.parse_args().relays:
        measure_relays()
    else:
        measure_here()


if __name__ == "__main__":
    main()
