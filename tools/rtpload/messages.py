"""The messages between coordinator and workers: msgspec structs as msgpack, in frames on a stream socket.

The coordinator sends orders, a worker sends events. A call is identified by its number.
"""

import msgspec

from nh.wire.framing import frame
from tools.rtpload.ends import MediaEnd
from tools.rtpload.streams.record import StreamRecord
from tools.rtpload.streams.stream import Account

MAX_MESSAGE_BYTES = 1 << 24
"""The records of a call that loses packets all day take a few MB."""

Buckets = dict[int, int]
"""The filled buckets of a histogram."""


class MediaFormat(msgspec.Struct, frozen=True):
    """What the RTP of a medium is like.

    Args:
        payload_type, payload_bytes: of each packet.
        timestamp_step: from packet to packet.
    """

    payload_type: int
    payload_bytes: int
    timestamp_step: int


class Configure(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first order: what all calls have in common.

    Args:
        run: in the identity of every packet, 32 bits.
        address: where the phones of this worker are.
        rtcp: whether phones have RTCP.
        packet_ns, rtcp_interval_ns, jitter_ns, drain_ns: see LoadOptions.
        media: of a call, the audio first.
        cpus: which CPUs to use.
        seed: of this worker's chance.
        nice: its priority.
        list_streams: tell of each stream when its call is over.
        srtp: the crypto suite of the callees; "": none.
        webrtc: callees are browsers.
    """

    run: int
    address: str
    rtcp: bool
    packet_ns: int
    rtcp_interval_ns: int
    jitter_ns: int
    drain_ns: int
    media: tuple[MediaFormat, ...]
    cpus: tuple[int, ...]
    seed: int
    nice: int = 0
    list_streams: bool = False
    srtp: str = ""
    webrtc: bool = False


class Open(msgspec.Struct, frozen=True, tag=True):
    """Get two phones ready for a call; Opened or OpenFailed is the answer."""

    call: int
    one_way: bool


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Let the callee, a browser, begin with ICE and DTLS; Connected is the answer."""

    call: int
    callee: MediaEnd


class StartSending(msgspec.Struct, frozen=True, tag=True):
    """Send to these ports from now on: for the first time, after a hold, or after a re-INVITE."""

    call: int
    caller: MediaEnd
    callee: MediaEnd


class Move(msgspec.Struct, frozen=True, tag=True):
    """A re-INVITE begins; Moving is the answer, and it ends with StartSending."""

    call: int


class StopSending(msgspec.Struct, frozen=True, tag=True):
    """Send nothing more, and wait until everything is in, or for drain_ns; SendingStopped is the answer."""

    call: int


class HangUp(msgspec.Struct, frozen=True, tag=True):
    """The call is over: close its sockets and take its figures into the account."""

    call: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Close what is left; Finished is the answer, and the worker ends."""


Order = Configure | Open | Connect | StartSending | Move | StopSending | HangUp | Finish


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The first event: the worker takes orders."""


class Opened(msgspec.Struct, frozen=True, tag=True):
    """Where the two phones of a call take media."""

    call: int
    caller: MediaEnd
    callee: MediaEnd


class OpenFailed(msgspec.Struct, frozen=True, tag=True):
    """There are no sockets for a call."""

    call: int
    reason: str


class Connected(msgspec.Struct, frozen=True, tag=True):
    """A browser has keys.

    Args:
        call: which.
        took_ns: from Connect on.
        problem: why it has none; "" if it has.
    """

    call: int
    took_ns: int
    problem: str


class Moving(msgspec.Struct, frozen=True, tag=True):
    """What is under way in a call from now on is known to be so during a re-INVITE."""

    call: int


class SendingStopped(msgspec.Struct, frozen=True, tag=True):
    """A call is silent; `complete` if everything that was sent is in."""

    call: int
    complete: bool


class CallStreams(msgspec.Struct, frozen=True, tag=True):
    """A call is over, and this is what became of its streams, if that was asked for."""

    streams: tuple[StreamRecord, ...]


class Tick(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """One second of a worker.

    Args:
        second: which, of the monotonic clock.
        caller, callee: latencies of the RTP that either side received, by bucket.
        lateness: of the RTP that was sent, by bucket.
    """

    second: int
    caller: Buckets
    callee: Buckets
    lateness: Buckets


class BrowserTally(msgspec.Struct):
    """What became of the checks of ICE of browsers, those of consent among them.

    Args:
        checks, answered: how many.
        longest_ns: longest time that a browser waited for an answer, over all checks that it sent meanwhile.
    """

    checks: int = 0
    answered: int = 0
    longest_ns: int = 0

    def add(self, other: "BrowserTally") -> None:
        """Add the figures of `other`."""
        self.checks += other.checks
        self.answered += other.answered
        self.longest_ns = max(self.longest_ns, other.longest_ns)


class SideTally(msgspec.Struct):
    """What one side of all calls received.

    Args:
        media, reports: RTP and RTCP that were sent to it.
        misrouted: packets of other streams.
        foreign: packets that are none of this run's.
        jitter: RFC 3550 jitter of each stream at its end, by bucket.
    """

    media: Account
    reports: Account
    misrouted: int = 0
    foreign: int = 0
    jitter: Buckets = {}


class Finished(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The account of a worker.

    Args:
        caller, callee: see SideTally.
        report_latency: of RTCP, by bucket.
        send_failures: how many sends the kernel refused, by the reason.
        cpu_s: CPU time of this worker since it was ready.
        kernel_clock: whether the kernel said when packets arrived.
        browsers: see BrowserTally; None if the callees are none.
    """

    caller: SideTally
    callee: SideTally
    report_latency: Buckets
    send_failures: dict[str, int]
    cpu_s: float
    kernel_clock: bool
    browsers: BrowserTally | None = None


Event = Ready | Opened | OpenFailed | Connected | Moving | SendingStopped | CallStreams | Tick | Finished

_encoder = msgspec.msgpack.Encoder()
_order_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def encode(message: Order | Event) -> bytes:
    """The message as a frame."""
    return frame(_encoder.encode(message))


def decode_order(payload: bytes) -> Order:
    """The order in a frame's payload. Raises msgspec.DecodeError."""
    return _order_decoder.decode(payload)


def decode_event(payload: bytes) -> Event:
    """The event in a frame's payload. Raises msgspec.DecodeError."""
    return _event_decoder.decode(payload)
