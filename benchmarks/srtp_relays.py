"""SRTP on one side of calls through nh and rtpengine: CPU of their processes for each packet, in one run.

Both relay in user space, on one CPU, and take turns: each round sends each relay the same packets of speech,
in bursts of one packet for each call.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from benchmarks.figures import ratios, spread
from benchmarks.peers.ng_relays import LOOPBACK, NgRelay, ng_control, ng_relays
from benchmarks.processes import TreeMeter
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.program import running_on
from tools.rtpload.controls.ng import NgControl
from tools.rtpload.ends import Endpoint, MediaEnd, TransactionKey
from tools.rtpload.worker.secured import Secured
from tools.rtpload.worker.senders import Protect

COUNTER_MODE: Final = "AES_CM_128_HMAC_SHA1_80"
GCM: Final = "AEAD_AES_128_GCM"
CALLS: Final = 20
ROUNDS: Final = 9
BURSTS: Final = 250
BURST_S: Final = 0.002

Send = Callable[[], None]


class Kind(NamedTuple):
    """What is measured.

    Attributes:
        suite: of the SRTP of one end; "": neither has it.
        opens: that end sends, so its SRTP is opened; otherwise it is sealed.
        shares: what comes to its port beside its RTP: "", "rtcp-mux" or "bundle".
    """

    suite: str = ""
    opens: bool = True
    shares: str = ""

    def __str__(self) -> str:
        way = "" if not self.suite else ", SRTP to RTP" if self.opens else ", RTP to SRTP"
        return (self.suite or "plain") + way + (f", {self.shares}" if self.shares else "")


PLAIN: Final = Kind()
KINDS: Final = (PLAIN, *(Kind(suite, opens) for suite in (COUNTER_MODE, GCM) for opens in (False, True)))


class Calls:
    """Calls of one kind through one relay.

    Args:
        name: of them, in their call-ids.
        ng: HOST:PORT of the relay.
        kind: of their packets.
    """

    def __init__(self, name: str, ng: str, kind: Kind) -> None:
        self._peers: list[MediaPeer] = []
        self._sinks: list[socket.socket] = []
        self._senders: list[Send] = []
        with contextlib.closing(ng_control(ng, kind.suite)) as control:
            for number in range(CALLS):
                self._set_up(control, f"{name}-{number}", kind)

    def _set_up(self, control: NgControl, name: str, kind: Kind) -> None:
        caller, callee = MediaPeer(LOOPBACK), MediaPeer(LOOPBACK)
        secured = Secured(kind.suite) if kind.suite else None
        targets = control.negotiate(
            TransactionKey(name, f"{name}-from", f"{name}-to", 1),
            _end_of(caller),
            _end_of(callee)._replace(key=secured.key if secured else ""),
            hold=False,
        )
        sender, sink = (callee, caller) if kind.opens else (caller, callee)
        target = targets.callee.rtp if kind.opens else targets.caller.rtp
        protect: Protect = secured.protector(rtcp=False) if secured and kind.opens else bytes

        def send() -> None:
            sender.send_raw(protect(sender.next_packet(bytes(160))), target)

        self._senders.append(send)
        self._sinks.append(sink.sockets[RTP])
        sink.sockets[RTP].setblocking(False)
        self._peers += [caller, callee]

    def play(self) -> int:
        """Send a round; returns how many packets arrived."""
        arrived, due = 0, time.monotonic()
        for _ in range(BURSTS):
            for send in self._senders:
                send()
            due += BURST_S
            time.sleep(max(0.0, due - time.monotonic()))
            arrived += sum(map(_drain, self._sinks))
        time.sleep(0.05)
        return arrived + sum(map(_drain, self._sinks))

    def close(self) -> None:
        """Close the phones."""
        for peer in self._peers:
            peer.close()


class Subject(NamedTuple):
    """A relay, the CPU that it takes, and its calls."""

    meter: TreeMeter
    calls: dict[Kind, Calls]


def measure_relays() -> None:
    """Measure, and print the medians with their spread."""
    costs: dict[str, dict[Kind, list[float]]] = {}
    cpus = sorted(os.sched_getaffinity(0))
    with running_on([cpus[0]]), ng_relays([cpus[-1]]) as relays, contextlib.ExitStack() as undo:
        subjects = {name: undo.enter_context(_subject(name, relay)) for name, relay in relays.items()}
        for number in range(ROUNDS + 1):
            for name, subject in subjects.items():
                for kind, calls in subject.calls.items():
                    cost = _cost_us(subject.meter, calls)
                    if number:  # the first round latches
                        costs.setdefault(name, {}).setdefault(kind, []).append(cost)
    for kind in KINDS:
        print(f"{kind}: " + "; ".join(f"{name} {_text(found, kind)}" for name, found in costs.items()))


def _cost_us(meter: TreeMeter, calls: Calls) -> float:
    before = meter.cpu_s()
    arrived = calls.play()
    return (meter.cpu_s() - before) * 1e6 / max(1, arrived)


def _text(costs: dict[Kind, list[float]], kind: Kind) -> str:
    cost, times = spread(costs[kind]), spread(ratios(costs[kind], costs[PLAIN]))
    assert cost is not None
    assert times is not None
    return (
        f"{cost.median:.1f} µs, {times.median:.2f} ({times.least:.2f} to {times.most:.2f}) times a plain one"
    )


def _drain(sock: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while sock.recv(4096):
            count += 1
    return count


def _end_of(peer: MediaPeer) -> MediaEnd:
    return MediaEnd(Endpoint(peer.address, peer.port), Endpoint(peer.address, peer.port + 1))


@contextlib.contextmanager
def _subject(name: str, relay: NgRelay) -> Iterator[Subject]:
    calls = {kind: Calls(f"{name}-{at}", relay.ng, kind) for at, kind in enumerate(KINDS)}
    yield Subject(TreeMeter([relay.pid]), calls)
    for each in calls.values():
        each.close()
