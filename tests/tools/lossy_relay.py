"""A relay with known faults: speaks enough ng for the load generator, and does to packets what it is told.

It runs in a thread and identifies each packet by its content, as the generator's own reader does.
"""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tools.rtpload.ends import Endpoint, MediaEnd
from tools.rtpload.packet import Identity, find_identity
from tools.rtpload.sdp import read_sdp

LOOPBACK = "127.0.0.1"


class Fault(NamedTuple):
    """What is done to a packet: how often it is sent on, behind how many others, whether to another phone."""

    copies: int = 1
    behind: int = 0
    astray: bool = False


Faults = Callable[[Identity], Fault]


class Port:
    """One socket of the relay: receives from one phone; `peer` is the port of the other one.

    `phone` is where the phone takes what comes in at the peer.
    """

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind((LOOPBACK, 0))
        self.phone = Endpoint("", 0)
        self.peer: Port | None = None
        self.held: list[tuple[int, bytes]] = []


class FaultyCall:
    """The ports of one call: RTP and RTCP towards the caller and towards the callee."""

    def __init__(self) -> None:
        self.to_caller, self.to_callee = (Port(), Port()), (Port(), Port())
        for one, other in zip(self.to_caller, self.to_callee, strict=True):
            one.peer, other.peer = other, one
        self.negotiating = False
        self.on_hold = False
        self.negotiations = 0


class LossyRelay:
    """See the module.

    Args:
        faults: what to do to a packet.
        renegotiation_s: how long it takes over a re-INVITE's answer, while it relays nothing of the call.
    """

    def __init__(self, faults: Faults, renegotiation_s: float) -> None:
        self._faults = faults
        self._renegotiation_s = renegotiation_s
        self._selector = selectors.DefaultSelector()
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.bind((LOOPBACK, 0))
        self._selector.register(self._control, selectors.EVENT_READ)
        self._calls: dict[str, FaultyCall] = {}
        self._later: list[tuple[float, bytes, Any]] = []
        self._ignored: set[bytes] = set()
        self.ignore_first_tries = False
        self.refuse_offers = False
        self.deleted: list[str] = []
        self.received_on_hold = 0
        self._sent: dict[int, int] = {}
        self._ended = threading.Event()
        self.address = f"{LOOPBACK}:{self._control.getsockname()[1]}"

    def run(self) -> None:
        """Relay until `end`."""
        while not self._ended.is_set():
            ready = [key for key, _ in self._selector.select(0.005)]
            # packets that came before a request are relayed before it, also if this thread was kept waiting
            for key in ready:
                if key.fileobj is not self._control:
                    self._relay_all(*key.data)
            if any(key.fileobj is self._control for key in ready):
                self._answer()
            while self._later and self._later[0][0] <= time.monotonic():
                _, reply, client = self._later.pop(0)
                self._control.sendto(reply, client)
                for call in self._calls.values():
                    call.negotiating = False
        for call in self._calls.values():
            for port in (*call.to_caller, *call.to_callee):
                port.sock.close()
        self._control.close()
        self._selector.close()

    def end(self) -> None:
        """Let `run` return."""
        self._ended.set()

    def least_sent(self, streams: int) -> int:
        """How many packets each of so many RTP streams has sent at least, lost ones included."""
        sent = [count for stream, count in list(self._sent.items()) if stream % 2 == 0]
        return min(sent) if len(sent) == streams else 0

    # --- control ----------------------------------------------------------------------------------

    def _answer(self) -> None:
        datagram, client = self._control.recvfrom(65_535)
        cookie, _, body = datagram.partition(b" ")
        if self.ignore_first_tries and cookie not in self._ignored:
            self._ignored.add(cookie)
            return
        request = json.loads(body)
        reply = cookie + b" " + json.dumps(self._execute(request)).encode()
        call = self._calls.get(request.get("call-id", ""))
        if request["command"] == "answer" and call is not None and call.negotiations > 2:
            self._later.append((time.monotonic() + self._renegotiation_s, reply, client))
        else:
            self._control.sendto(reply, client)

    def _execute(self, request: Mapping[str, Any]) -> dict[str, str]:
        name = request.get("call-id", "")
        match request["command"]:
            case "ping":
                return {"result": "pong"}
            case "offer" if self.refuse_offers:
                return {"result": "error", "error-reason": "Ran out of ports"}
            case "offer" | "answer":
                return {"result": "ok", "sdp": self._negotiate(name, request)}
            case "delete":
                self.deleted.append(name)
                return {"result": "ok"}
        return {"result": "error", "error-reason": "Unrecognized command"}

    def _negotiate(self, name: str, request: Mapping[str, Any]) -> str:
        if name not in self._calls:
            call = self._calls[name] = FaultyCall()
            for port in (*call.to_caller, *call.to_callee):
                self._selector.register(port.sock, selectors.EVENT_READ, (call, port))
        call = self._calls[name]
        call.negotiations += 1
        if request["command"] == "offer":
            call.on_hold = "a=sendonly" in request["sdp"]
        call.negotiating = call.negotiations > 2
        end: MediaEnd = read_sdp(request["sdp"])
        # what an offer is rewritten to stands in for the caller: the callee sends there
        near, far = (call.to_caller, call.to_callee)
        if request["command"] == "answer":
            near, far = far, near
        for port, endpoint in zip(near, (end.rtp, end.rtcp), strict=True):
            port.phone = endpoint
        rtp, rtcp = (port.sock.getsockname()[1] for port in far)
        return f"v=0\r\nc=IN IP4 {LOOPBACK}\r\nm=audio {rtp} RTP/AVP 0\r\na=rtcp:{rtcp}\r\n"

    # --- media ------------------------------------------------------------------------------------

    def _relay_all(self, call: FaultyCall, port: Port) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._relay(call, port, port.sock.recv(2048))

    def _relay(self, call: FaultyCall, port: Port, packet: bytes) -> None:
        identity = find_identity(packet)
        assert identity is not None
        assert port.peer is not None
        self._sent[identity.stream] = max(self._sent.get(identity.stream, 0), identity.number + 1)
        self.received_on_hold += call.on_hold
        if call.negotiating:
            return
        fault = self._faults(identity)
        if fault.behind:
            port.held.append((fault.behind, packet))
            return
        for _ in range(fault.copies):
            self._send(call, port, packet, astray=fault.astray)
        waiting, port.held = port.held, []
        for behind, held in waiting:
            if behind > 1:
                port.held.append((behind - 1, held))
            else:
                self._send(call, port, held, astray=False)

    def _send(self, call: FaultyCall, port: Port, packet: bytes, *, astray: bool) -> None:
        assert port.peer is not None
        target = port.peer.phone
        if astray:  # to the same kind of socket of the same side, in another call
            kind = (call.to_caller + call.to_callee).index(port)
            other = next(other for other in self._calls.values() if other is not call)
            wrong = (other.to_caller + other.to_callee)[kind].peer
            assert wrong is not None
            target = wrong.phone
        port.peer.sock.sendto(packet, target)


@contextlib.contextmanager
def lossy_relay(faults: Faults = lambda _: Fault(), *, renegotiation_s: float = 0.2) -> Iterator[LossyRelay]:
    """A running relay, which ends with the context."""
    relay = LossyRelay(faults, renegotiation_s)
    thread = threading.Thread(target=relay.run, name="lossy relay")
    thread.start()
    try:
        yield relay
    finally:
        relay.end()
        thread.join()
