"""What SRTP on one side of a call costs a packet of speech in user space, beside a plain one, in one run.

    python -m benchmarks.srtp_cost

Bursts of 40 packets (RTP, 172 bytes) go through a relay in this process over loopback; what is counted is the
CPU of its turns: receive, authenticate, decrypt, measure, encrypt, send. The figure is the 5th percentile of
150 bursts, in three rounds.
"""

import time
from typing import Final

from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import Answer, Offer, OfferOptions, SdesOptions
from nh.loop import SelectorLoop
from nh.results import Rewritten
from nh.sdp.crypto import CryptoAttribute, read_crypto, write_crypto
from nh.sdp.parse import parse
from nh.shard.relay import Relay
from nh.srtp.ciphers import BUFFER_BYTES
from nh.srtp.sender import SrtpSender
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

LOOPBACK: Final = "127.0.0.1"
PACKETS: Final = 40
BURSTS: Final = 150
ROUNDS: Final = 3
SUITES: Final = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM")


class SpeechCall:
    """A relay in this process, and one call through it.

    Args:
        ports: of the relay.
        suite: of the callee's SRTP; "": it has none.
        from_caller: who sends.
    """

    def __init__(self, ports: range, suite: str, *, from_caller: bool) -> None:
        self._loop = SelectorLoop()
        interfaces = (Interface("default", LOOPBACK, LOOPBACK),)
        config = RelayConfig(RelaySettings(), ports=(ports[0], ports[-1]), interfaces=interfaces)
        self._relay = Relay(config)
        self._relay.attach(self._loop)
        self._caller, self._callee = MediaPeer(LOOPBACK), MediaPeer(LOOPBACK)
        options = OfferOptions(
            transport_protocol="RTP/SAVP" if suite else "", sdes=SdesOptions(only=(suite,) if suite else ())
        )
        caller_sdp = _sdp(self._caller, "RTP/AVP")
        to_callee = self._execute(Offer(b"call", b"caller", b"", b"", caller_sdp, options))
        self._protector: SrtpSender | None = None
        crypto = b""
        if suite:
            offered = parse(to_callee).media[0].attributes["crypto"]
            line = read_crypto([each.value for each in offered])[0]
            crypto = self._set_up_srtp(line) + b"\r\n"
        proto = "RTP/SAVP" if suite else "RTP/AVP"
        callee_sdp = _sdp(self._callee, proto) + crypto
        to_caller = self._execute(Answer(b"call", b"caller", b"callee", b"", callee_sdp, OfferOptions()))
        ends = (
            (self._caller, to_caller, self._callee)
            if from_caller
            else (self._callee, to_callee, self._caller)
        )
        self._sender, told, receiver = ends
        if from_caller:
            self._protector = None
        self._target = (LOOPBACK, parse(told).media[0].port)
        self._receiver = receiver.sockets[0]
        self._receiver.setblocking(False)

    def _set_up_srtp(self, line: CryptoAttribute) -> bytes:
        """Let the callee send with the key that it is sent with: nothing forbids it, and it is a key."""
        self._protector = SrtpSender(line.key, bytearray(BUFFER_BYTES))
        return write_crypto(line.tag, line.key)

    def _execute(self, command: Offer | Answer) -> bytes:
        result = self._relay.execute(command)
        assert isinstance(result, Rewritten)
        return result.sdp

    def cost_us(self) -> float:
        """CPU of the relay for each packet of one burst."""
        for _ in range(PACKETS):
            packet = self._sender.next_packet(bytes(160))
            if self._protector is not None:
                packet = bytes(self._protector.protect(memoryview(packet)))
            self._sender.send_raw(packet, self._target)
        spent, arrived = 0.0, 0
        while arrived < PACKETS:
            began = time.thread_time()
            self._loop.turn(0.01)
            spent += time.thread_time() - began
            arrived += self._receive()
        return spent / PACKETS * 1e6

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
        self._caller.close()
        self._callee.close()


def measure(ports: range, suite: str, *, from_caller: bool) -> float:
    """The 5th percentile of all bursts, µs."""
    call = SpeechCall(ports, suite, from_caller=from_caller)
    bursts = sorted(call.cost_us() for _ in range(BURSTS))
    call.close()
    return bursts[BURSTS // 20]


def _sdp(peer: MediaPeer, proto: str) -> bytes:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\n"
        f"m=audio {peer.port} {proto} 0\r\n"
    ).encode()


def main() -> None:
    """Measure all, in turn, and print the least of the rounds with its ratio to a plain packet."""
    kinds = [("", True), *((suite, way) for suite in SUITES for way in (True, False))]
    least: dict[tuple[str, bool], float] = {}
    with claim_ports(8) as ports:
        for _ in range(ROUNDS):
            for kind in kinds:
                cost = measure(ports, kind[0], from_caller=kind[1])
                least[kind] = min(cost, least.get(kind, cost))
    plain = least["", True]
    print(f"plain: {plain:.2f} µs a packet")
    for (suite, from_caller), cost in least.items():
        if suite:
            way = "RTP to SRTP" if from_caller else "SRTP to RTP"
            print(f"{suite}, {way}: {cost:.2f} µs, {cost / plain:.2f} times a plain one")


if __name__ == "__main__":
    main()
