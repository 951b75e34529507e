"""nh.supervisor.records.hep: records reach Homer over UDP and TCP; one that is away costs records only."""

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from nh.calls.call_event import MAX_DETAIL, CallEvent, Client
from nh.calls.media import Endpoint
from nh.config import Settings
from nh.config.sources import load_settings
from nh.errors import ConfigError
from nh.ipc.report_messages import RtcpPacket, RtcpSeen
from nh.results import CallRecord
from nh.stats import SupervisorStats
from nh.supervisor.records.hep import HepEncoder
from nh.supervisor.records.records import Records
from nh.supervisor.start_checks import CHECKS
from nh.wire.hep import HepPacket, PacketKind, decode_packet
from tests.rtcp import sender_report
from tools.harness.call import RelayedCall
from tools.harness.media_peer import RTCP
from tools.harness.relay import running_relay
from tools.harness.waiting import eventually

AT = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
KEY = "homer-key-of-the-tests"


def record(call_id: bytes = b"c@h", **fields: object) -> bytes:
    client = Client("ng", "192.0.2.5:2223", "offer")
    values: dict[str, object] = {"tags": (b"a", b"b"), "packets": 3, "bytes": 500, **fields}
    return msgspec.msgpack.encode(
        CallRecord(call_id, 1, client, AT, AT, 0.0, "closed", client, **values)  # type: ignore[arg-type]
    )


class Homer:
    """A capture server on loopback."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(20)
        self.stream = kind == socket.SOCK_STREAM
        if self.stream:
            self.sock.listen()
        scheme = "tcp" if self.stream else "udp"
        self.address = f"{scheme}:127.0.0.1:{self.sock.getsockname()[1]}"
        self._connection: socket.socket | None = None

    def receive(self) -> HepPacket:
        """The next packet."""
        if not self.stream:
            return decode_packet(self.sock.recv(65_536))
        if self._connection is None:
            self._connection, _ = self.sock.accept()
            self._connection.settimeout(20)
        head = self._take(6)
        return decode_packet(head + self._take(int.from_bytes(head[4:], "big") - 6))

    def _take(self, size: int) -> bytes:
        assert self._connection is not None
        data = self._connection.recv(size, socket.MSG_WAITALL)
        assert len(data) == size
        return data

    def hang_up(self) -> None:
        """End the connection."""
        assert self._connection is not None
        self._connection.close()
        self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self.sock.close()


@pytest.fixture(params=[socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def homer(request: pytest.FixtureRequest) -> Iterator[Homer]:
    with contextlib.closing(Homer(request.param)) as homer:
        yield homer


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def running_records(**settings: Any) -> Iterator[tuple[Records, SupervisorStats]]:
    stats = SupervisorStats()
    with contextlib.closing(Records(Settings(**settings), stats)) as records:
        yield records, stats


def counts(records: Records, stats: SupervisorStats) -> tuple[int, int]:
    records.update_stats()
    return stats.records_written, stats.records_lost


def test_a_record_arrives_as_a_log_line_of_its_call(homer: Homer, key_file: Path) -> None:
    with running_records(hep=homer.address, hep_id=77, hep_key_file=str(key_file)) as (records, stats):
        records.add(b"c@h", record())
        packet = homer.receive()
        assert (packet.kind, packet.capture_id, packet.key) == (PacketKind.LOG, 77, KEY.encode())
        assert packet.correlation_id == b"c@h"
        assert packet.at_us == round(AT.timestamp() * 1_000_000)
        assert json.loads(packet.payload)["reason"] == "closed"
        records.add(b"second", record(b"second"))
        assert homer.receive().correlation_id == b"second"
        eventually(lambda: counts(records, stats) == (2, 0), "both are counted")


def test_a_homer_that_hangs_up_is_asked_again() -> None:
    with (
        contextlib.closing(Homer(socket.SOCK_STREAM)) as homer,
        running_records(hep=homer.address) as (records, stats),
    ):
        records.add(b"c@h", record())
        assert homer.receive().correlation_id == b"c@h"
        homer.hang_up()

        def reconnects() -> bool:
            records.add(b"again", record(b"again"))
            return counts(records, stats)[1] > 0  # the system tells it with the write after the next

        eventually(reconnects, "a record is lost")
        records.add(b"after", record(b"after"))
        while homer.receive().correlation_id != b"after":
            pass


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_homer_that_is_away_loses_records_and_they_are_counted(scheme: str) -> None:
    with contextlib.closing(Homer(socket.SOCK_STREAM)) as homer:
        gone = homer.address.rpartition(":")[2]
    with running_records(hep=f"{scheme}:127.0.0.1:{gone}") as (records, stats):

        def lost() -> bool:
            records.add(b"c@h", record())
            return counts(records, stats)[1] > 0

        eventually(lost, "a record is lost")


def test_a_record_that_is_too_long_goes_without_its_events() -> None:
    number = 80_000 // MAX_DETAIL
    events = (CallEvent(1.0, "command", detail="x" * MAX_DETAIL),) * number
    packet = decode_packet(HepEncoder(1, b"").record(record(events=events)))
    call = json.loads(packet.payload)
    assert (call["events"], call["events_left_out"]) == ([], number)


def test_a_record_without_sessions_has_no_place() -> None:
    packet = decode_packet(HepEncoder(1, b"").record(record(b"\xff\x00")))
    assert packet.source == packet.destination == Endpoint("0.0.0.0", 0)
    assert packet.correlation_id == b"\xff\x00"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"hep": "/run/homer"}, "hep: '/run/homer' is not HOST:PORT"),
        ({"hep": "sctp:127.0.0.1:9060"}, "hep: 'sctp:127.0.0.1:9060' is not HOST:PORT"),
        ({"hep": "127.0.0.1:0"}, "hep: '127.0.0.1:0' is not HOST:PORT"),
        ({"hep_id": 2**32}, "--hep-id: 4294967296 is not in 0 to 4294967295"),
        ({"hep_key_file": "/etc/key"}, "--hep-key-file: needs a Homer"),
    ],
)
def test_settings_that_make_no_sense_are_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_settings(flags=flags, environment={})


def test_a_key_that_others_may_read_ends_the_start(key_file: Path) -> None:
    key_file.chmod(0o644)
    flags = {"hep": "127.0.0.1:9060", "hep_key_file": str(key_file)}
    with pytest.raises(ConfigError, match=r"hep_key_file: .* is open to other users"):
        CHECKS["hep"](load_settings(flags=flags, environment={}), None)


def test_a_call_that_ends_shows_in_homer(key_file: Path) -> None:
    with (
        contextlib.closing(Homer(socket.SOCK_DGRAM)) as homer,
        running_relay(hep=homer.address, hep_key_file=key_file, history=0, log_level="debug") as relay,
    ):
        with RelayedCall(relay.unix_address, b"to-homer@example.org") as call:
            call.talk()
            port = call.alice.port
            call.end()
        packet = homer.receive()
        assert packet.correlation_id == b"to-homer@example.org"
        assert packet.source == Endpoint("127.0.0.1", port)
        assert packet.destination.port in relay.ports
        assert json.loads(packet.payload)["packets"] == 4
        assert KEY not in relay.program.output


def test_rtcp_that_passes_shows_in_homer_as_reports_of_its_call() -> None:
    with (
        contextlib.closing(Homer(socket.SOCK_DGRAM)) as homer,
        running_relay(hep=homer.address, history=0) as relay,
        RelayedCall(relay.unix_address, b"reports@example.org") as call,
    ):
        for number in range(3):
            report = sender_report(0xB2, number)
            call.alice.send_raw(report, call.for_alice, RTCP)
            assert call.bob.receive(RTCP)[0] == report
            packet = homer.receive()
            assert (packet.kind, packet.correlation_id) == (PacketKind.RTCP_JSON, b"reports@example.org")
            assert packet.source == Endpoint("127.0.0.1", call.alice.port + 1)
            assert packet.destination == Endpoint("127.0.0.1", call.for_alice[1] + 1)
            assert json.loads(packet.payload)["ssrc"] == 0xB2
        leg = relay.call(b"reports@example.org").sessions[0].pairs[1].from_
        assert not leg.kernel
        pid = relay.shard_pid(call_shard := relay.call(b"reports@example.org").shard)
        psutil.Process(pid).kill()
        eventually(lambda: relay.shard_pid(call_shard) not in (0, pid), "another shard has the call")
        call.alice.send_raw(sender_report(0xC3, 9), call.for_alice, RTCP)
        assert json.loads(homer.receive().payload)["ssrc"] == 0xC3
        eventually(lambda: relay.stats().supervisor.hep_rtcp_sent == 4, "they are counted")
        assert relay.stats().supervisor.hep_rtcp_lost == 0
        call.end()


def test_rtcp_for_a_homer_that_is_away_is_lost_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(Homer(socket.SOCK_STREAM)) as homer:
        gone = homer.address
    with running_records(hep=gone) as (records, stats):
        seen = RtcpPacket(b"c", ("192.0.2.1", 1), ("192.0.2.2", 2), 3, sender_report(1, 2))
        records.add_rtcp(RtcpSeen((msgspec.msgpack.encode(seen),), lost=5))

        def lost() -> int:
            records.update_stats()
            return stats.hep_rtcp_lost

        eventually(lambda: lost() == 6, "they are counted")
        eventually(lambda: "(hep_rtcp_lost counts them)" in caplog.text, "the log says where")
        assert (stats.hep_rtcp_sent, stats.records_lost) == (0, 0)
