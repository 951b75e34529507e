"""Everything that a load can be told, checked once.

The fields are what `run_load` takes from programs; the command line has an option for each. Units are in
the names.
"""

import enum
import math
import os

import msgspec

from nh.errors import ConfigError
from nh.ip_address import is_address
from tools.rtpload.codec import VIDEO, Codec, get_codec
from tools.rtpload.durations import parse_duration
from tools.rtpload.messages import MediaFormat
from tools.rtpload.packet import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES

PACKETS_PER_PROCESS = 60_000
"""Packets/s, sent and received, for each worker, if the number of workers is not given."""


MAX_CALLS = 100_000
MAX_PROCESSES = 64
MAX_DRAIN_S = 60.0


class ControlKind(enum.StrEnum):
    """How the relay is told of calls; direct: there is none."""

    NETSIP = "netsip"
    NATIVE = "native"
    NG = "ng"
    DIRECT = "direct"


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One load.

    Args:
        address: of the relay's control socket: a path or HOST:PORT; UDP for ng; of no use for direct.
        control: the protocol.
        calls: how many at once, 1 to 100000.
        ramp: calls per second until all are up; 0: as fast as the relay sets them up.
        time_s: how long the load goes on once all calls are up, 0.1 to 604800.
        duration: how long calls last, see durations; a call that ends is replaced. "": as long as the load.
        packet_ms: packet time, 1 to 1000.
        codec: one of codec.CODECS.
        payload_bytes: 0: as the codec's rate says.
        rtcp: whether both ends send reports, too.
        rtcp_interval_s: mean time between two reports of one end, 0.1 to 3600.
        one_way, hold, reinvite: shares of the calls, 0 to 1; see plan.
        forks: branches of each call that ring and lose before one answers, 0 to 100; for ng only.
        srtp: crypto suite of the callees, which have SRTP with keys in SDP; callers have plain RTP. "": no
            SRTP. For ng only.
        webrtc: callees are browsers: ICE, keys by DTLS for the suite of `srtp`, RTCP at the port of RTP.
        video: browsers have video beside their audio, in one bundle, and callers have it at ports of its own.
        handshakes_at_once: no browser begins before all calls are set up; then all do. The calls are replaced
            one by one.
        ipv6: media over IPv6; decides the default addresses.
        relay_address: where the relay shall take media; "": loopback.
        phone_addresses: where the phones are, dealt out to the workers in turn; empty: loopback.
        jitter_ms: each packet is sent up to so much late, at random.
        processes: workers, 1 to 64; 0: as many as the packets and descriptors need, within the CPUs.
        cpus: CPUs that the workers may use; empty: all that this process may.
        nice: of the workers, -20 to 19: below 0 they go before others, where this user may do that.
        signallers: commands under way at once, 1 to 64.
        timeout_s: longest time of one command, 0.1 to 60.
        drain_s: longest wait for a call's last packets, 0 to 60.
        relay_pid: whose CPU time and memory are measured, with its children: a number, or "auto" for the nh
            with the runtime directory `runtime_dir`; "": of no relay.
        runtime_dir: "": where the control socket is if that is a path, else nh's default.
        seed: of all chance but ports and SSRCs.
        retry_s: how long a command without an answer is sent again, 0 to 600. 0: not at all.
        list_streams: note which packets of each stream were lost or came twice, and its gaps.
    """

    address: str
    control: ControlKind = ControlKind.NETSIP
    calls: int = 100
    ramp: float = 50.0
    time_s: float = 10.0
    duration: str = ""
    packet_ms: float = 20.0
    codec: str = "pcmu"
    payload_bytes: int = 0
    rtcp: bool = True
    rtcp_interval_s: float = 5.0
    one_way: float = 0.0
    hold: float = 0.0
    reinvite: float = 0.0
    forks: int = 0
    srtp: str = ""
    webrtc: bool = False
    video: bool = False
    handshakes_at_once: bool = False
    ipv6: bool = False
    relay_address: str = ""
    phone_addresses: tuple[str, ...] = ()
    jitter_ms: float = 0.0
    processes: int = 0
    cpus: tuple[int, ...] = ()
    nice: int = 0
    signallers: int = 4
    timeout_s: float = 5.0
    drain_s: float = 1.0
    relay_pid: str = ""
    runtime_dir: str = ""
    seed: int = 1
    retry_s: float = 0.0
    list_streams: bool = False

    def check(self) -> None:
        """Raises ConfigError naming the first option that cannot be used."""
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: {value} is not in {low} to {high}")
        if self.hold + self.reinvite > 1:
            raise ConfigError("hold and reinvite are shares of all calls: together they are at most 1")
        if self.forks and self.control is not ControlKind.NG:
            raise ConfigError("forks: only ng's calls have branches; set control to ng")
        self._check_srtp()
        parse_duration(self.duration)
        self._check_payload()
        self._check_addresses()
        if self.relay_pid not in ("", "auto") and not self.relay_pid.isdecimal():
            raise ConfigError(f"relay_pid: {self.relay_pid!r} is neither a number nor auto")
        if missing := set(self.cpus) - os.sched_getaffinity(0):
            raise ConfigError(f"cpus: CPU {min(missing)} cannot be used by this process")

    @property
    def media_codec(self) -> Codec:
        """The codec's facts."""
        return get_codec(self.codec)

    @property
    def packet_payload_bytes(self) -> int:
        """The payload of each packet."""
        return self.payload_bytes or self.media_codec.payload_bytes(self.packet_ms)

    @property
    def packet_ns(self) -> int:
        """Packet time in nanoseconds."""
        return round(self.packet_ms * 1e6)

    @property
    def loopback(self) -> str:
        """Loopback of the family in use."""
        return "::1" if self.ipv6 else "127.0.0.1"

    @property
    def listen_address(self) -> str:
        """Where the relay shall take media."""
        return self.relay_address or self.loopback

    @property
    def sockets_per_call(self) -> int:
        """Sockets of the generator for each call: RTP, and RTCP if it is on and has ports, at both ends."""
        of_caller = (2 if self.rtcp else 1) * (2 if self.video else 1)
        return of_caller + (2 if self.rtcp and not self.webrtc else 1)

    @property
    def media_formats(self) -> tuple[MediaFormat, ...]:
        """What the RTP of each medium is like."""
        sizes = [(self.media_codec, self.packet_payload_bytes)]
        if self.video:
            sizes.append((VIDEO, VIDEO.payload_bytes(self.packet_ms)))
        return tuple([_format_of(codec, size, self.packet_ms) for codec, size in sizes])

    @property
    def usable_cpus(self) -> list[int]:
        """The CPUs that the workers may use."""
        return sorted(self.cpus or os.sched_getaffinity(0))

    @property
    def packets_per_s(self) -> float:
        """RTP packets per second of all calls, sent and received together."""
        return self.calls * (2 - self.one_way) * 2 * 1000 / self.packet_ms * len(self.media_formats)

    def phone_address(self, worker: int) -> str:
        """Where the phones of a worker are; on IPv4's loopback each worker has an address of its own."""
        if self.phone_addresses:
            return self.phone_addresses[worker % len(self.phone_addresses)]
        return self.loopback if self.ipv6 else f"127.0.0.{worker + 2}"

    def worker_count(self, descriptors_per_process: int) -> int:
        """How many workers there will be.

        Args:
            descriptors_per_process: sockets that one may have.
        """
        if self.processes:
            return self.processes
        for_packets = min(math.ceil(self.packets_per_s / PACKETS_PER_PROCESS), len(self.usable_cpus))
        for_sockets = math.ceil(self.calls * self.sockets_per_call / descriptors_per_process)
        return min(MAX_PROCESSES, max(1, for_packets, for_sockets))

    def _check_srtp(self) -> None:
        if not self.srtp and self.webrtc:
            raise ConfigError("webrtc: set srtp to the crypto suite of the browsers")
        if not self.webrtc and self.handshakes_at_once:
            raise ConfigError("handshakes_at_once: only browsers have handshakes; set webrtc")
        if not self.webrtc and self.video:
            raise ConfigError("video: only browsers have a bundle of audio and video; set webrtc")
        if self.video and self.media_codec.payload_type == VIDEO.payload_type:
            raise ConfigError(f"video: it is {VIDEO.name}; set codec to one of audio")
        if not self.srtp:
            return
        if self.control is not ControlKind.NG:
            raise ConfigError("srtp: only ng's calls have SRTP on one side; set control to ng")
        try:
            from tools.rtpload.libsrtp import PROFILES  # noqa: PLC0415  most loads have no SRTP
        except ImportError as exc:
            raise ConfigError("srtp: needs libsrtp; pip install pylibsrtp") from exc
        if self.srtp not in PROFILES:
            raise ConfigError(f"srtp: {self.srtp!r} is none of {', '.join(PROFILES)}")
        if self.webrtc:
            try:
                import tools.rtpload.openssl_end  # noqa: F401, PLC0415  the same
            except ImportError as exc:
                raise ConfigError("webrtc: needs OpenSSL; pip install pyopenssl") from exc

    def _check_payload(self) -> None:
        sizes = [each.payload_bytes for each in self.media_formats]
        size = next((each for each in sizes if not MIN_PAYLOAD_BYTES <= each <= MAX_PAYLOAD_BYTES), None)
        if size is not None:
            codec = self.codec if size == sizes[0] else VIDEO.name
            raise ConfigError(
                f"a packet of {codec} for {self.packet_ms:g} ms has {size} bytes; this works"
                f" with {MIN_PAYLOAD_BYTES} (stream and time are in it) to {MAX_PAYLOAD_BYTES}; set"
                " payload_bytes or another packet time"
            )

    def _check_addresses(self) -> None:
        phones = (("phone_addresses", address) for address in self.phone_addresses)
        for name, address in (("relay_address", self.listen_address), *phones):
            if not is_address(address):
                raise ConfigError(f"{name}: {address!r} is not an IP address")
            if (":" in address) != self.ipv6:
                raise ConfigError(
                    f"{name}: {address} is not of IPv{6 if self.ipv6 else 4}, which the media use"
                )


def _format_of(codec: Codec, payload_bytes: int, packet_ms: float) -> MediaFormat:
    return MediaFormat(codec.payload_type, payload_bytes, codec.timestamp_step(packet_ms))


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("calls", 1, MAX_CALLS),
    ("ramp", 0, 100_000),
    ("time_s", 0.1, 604_800),
    ("packet_ms", 1, 1000),
    ("rtcp_interval_s", 0.1, 3600),
    ("one_way", 0, 1),
    ("hold", 0, 1),
    ("reinvite", 0, 1),
    ("forks", 0, 100),
    ("jitter_ms", 0, 1000),
    ("processes", 0, MAX_PROCESSES),
    ("nice", -20, 19),
    ("signallers", 1, 64),
    ("timeout_s", 0.1, 60),
    ("drain_s", 0, MAX_DRAIN_S),
    ("retry_s", 0, 600),
)
