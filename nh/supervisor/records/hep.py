"""Records and RTCP to Homer: each in a packet of HEP, over UDP or TCP."""

import socket
from pathlib import Path
from typing import Final

import msgspec

from nh.address import TcpAddress
from nh.calls.media import Endpoint
from nh.config import Settings
from nh.ip_address import is_ipv6, split_host_port
from nh.ipc.report_messages import RtcpPacket
from nh.results import CallRecord, LegDetail
from nh.supervisor.host.secret_file import read_secret
from nh.supervisor.records.targets import TIMEOUT_S
from nh.wire.hep import HepPacket, PacketKind, encode_packet, rtcp_to_json
from nh.wire.native.values import to_json

_NOWHERE: Final = Endpoint("0.0.0.0", 0)

_record: Final = msgspec.msgpack.Decoder(CallRecord)
_rtcp: Final = msgspec.msgpack.Decoder(RtcpPacket)


def read_key(settings: Settings) -> bytes:
    """The key of `hep_key_file`; b"" without one. Raises ConfigError."""
    if not settings.hep_key_file:
        return b""
    return read_secret("hep_key_file", Path(settings.hep_key_file)).encode()


class HepEncoder:
    """Makes packets of HEP.

    Args:
        capture_id: see HepPacket.
        key: see HepPacket.
    """

    def __init__(self, capture_id: int, key: bytes) -> None:
        self._capture_id = capture_id
        self._key = key

    def record(self, record: bytes) -> bytes:
        """The packet for a record (nh.results.CallRecord in msgpack).

        A record that is too long for a packet goes without its events, then without its sessions.
        """
        call = _record.decode(record)
        shorter: tuple[dict[str, object], ...] = (
            {},
            {"events": (), "events_left_out": call.events_left_out + len(call.events)},
            {"sessions": (), "sessions_left_out": call.sessions_left_out + len(call.sessions)},
        )
        refusal = ValueError("it is too long")
        for changes in shorter:
            call = msgspec.structs.replace(call, **changes)
            try:
                return self._encode_call(call)
            except ValueError as exc:
                refusal = exc
        raise refusal

    def rtcp(self, seen: bytes) -> bytes:
        """The packet for RTCP (nh.ipc.report_messages.RtcpPacket in msgpack); b"" if it has no report."""
        packet = _rtcp.decode(seen)
        report = rtcp_to_json(packet.data)
        if report is None:
            return b""
        source, local = (
            Endpoint(address.partition("%")[0], port) for address, port in (packet.source, packet.local)
        )
        return encode_packet(
            HepPacket(
                PacketKind.RTCP_JSON,
                source,
                local,
                at_us=packet.at_us,
                capture_id=self._capture_id,
                correlation_id=packet.call_id,
                payload=msgspec.json.encode(report),
                key=self._key,
            )
        )

    def _encode_call(self, call: CallRecord) -> bytes:
        source, destination = _places(call)
        return encode_packet(
            HepPacket(
                PacketKind.LOG,
                source,
                destination,
                at_us=round(call.end.timestamp() * 1_000_000),
                capture_id=self._capture_id,
                correlation_id=call.call_id,
                payload=msgspec.json.encode(to_json(call)),
                key=self._key,
            )
        )


def _places(call: CallRecord) -> tuple[Endpoint, Endpoint]:
    """Where the first leg's media came from, and the relay's port: what a capture of them would say."""
    legs = (pair.from_ for session in call.sessions for pair in session.pairs)
    leg: LegDetail | None = next(legs, None)
    if leg is None:
        return _NOWHERE, _NOWHERE
    local = _endpoint(leg.local)
    source = _endpoint(leg.source or leg.announced or "")
    if is_ipv6(source.address) != is_ipv6(local.address) or not source.port:
        source = local
    return source, local


def _endpoint(text: str) -> Endpoint:
    host, port = split_host_port(text)
    address = host.partition("%")[0]
    return Endpoint(address, int(port)) if address and port.isdigit() else _NOWHERE


class HepTarget:
    """Sends packets to a capture server; see nh.supervisor.records.targets.Target.

    Args:
        address: of the server; a name is looked up when a connection is made.
        tcp: over TCP, where the length in each packet separates them; else UDP.
    """

    def __init__(self, address: TcpAddress, *, tcp: bool) -> None:
        self._address = address
        self._tcp = tcp
        self._sock: socket.socket | None = None

    def write(self, line: bytes) -> None:
        """Send one packet. Raises OSError."""
        if self._sock is None:
            self._sock = self._connect()
        self._sock.sendall(line)

    def reopen(self) -> None:
        """See Target."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _connect(self) -> socket.socket:
        host, port = self._address.host, self._address.port
        if self._tcp:
            return socket.create_connection((host, port), TIMEOUT_S)
        [(family, kind, _, _, place), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        sock = socket.socket(family, kind)
        try:
            sock.settimeout(TIMEOUT_S)
            sock.connect(place)
        except OSError:
            sock.close()
            raise
        return sock
