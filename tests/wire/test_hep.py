"""nh.wire.hep: packets of HEP 3, by its specification, by another decoder, and with any bytes."""

import contextlib
import json
import os
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.errors import MalformedRequest
from nh.wire.hep import HepPacket, PacketKind, decode_packet, encode_packet, rtcp_to_json
from nh.wire.hep.packets import MAX_PACKET_BYTES
from tests.ng.node_clients import MODULES
from tests.rtcp import bye, receiver_report, report_block, sender_report

PACKET = HepPacket(
    PacketKind.LOG,
    Endpoint("192.0.2.1", 10_000),
    Endpoint("198.51.100.2", 4000),
    at_us=1_767_222_000_000_979,
    capture_id=2001,
    correlation_id=b"a84b4c76@example.org",
    payload=b'{"call_id":"a84b4c76@example.org"}',
)

VECTOR = bytes.fromhex(
    "48455033 009f"  # HEP3, 159 bytes
    "0000 0001 0007 02"  # IPv4
    "0000 0002 0007 11"  # UDP
    "0000 0003 000a c0000201"
    "0000 0004 000a c6336402"
    "0000 0007 0008 2710"
    "0000 0008 0008 0fa0"
    "0000 0009 000a 6955aaf0"
    "0000 000a 000a 000003d3"
    "0000 000b 0007 64"  # log
    "0000 000c 000a 000007d1"
    "0000 0011 001a 613834623463373640 6578616d706c652e6f7267"
    "0000 000f 0028 7b2263616c6c5f6964223a2261383462346337364065 78616d706c652e6f7267227d"
)


def test_a_packet_has_the_bytes_of_the_specification() -> None:
    assert encode_packet(PACKET).hex() == VECTOR.hex()
    assert decode_packet(VECTOR) == PACKET


def test_a_key_is_a_chunk_of_its_own() -> None:
    with_key = HepPacket(
        **{**{name: getattr(PACKET, name) for name in PACKET.__struct_fields__}, "key": b"k"}
    )
    data = encode_packet(with_key)
    assert data[6:].startswith(VECTOR[6:])
    assert data[len(VECTOR) :] == bytes.fromhex("0000 000e 0007 6b")
    assert decode_packet(data) == with_key


def test_chunks_of_vendors_and_unknown_ones_are_left_out() -> None:
    extra = struct.pack("!HHH2s", 0x10, 0x0B, 8, b"xx") + struct.pack("!HHHB", 0, 0x7F, 7, 1)
    data = struct.pack("!4sH", b"HEP3", len(VECTOR) + len(extra)) + VECTOR[6:] + extra
    assert decode_packet(data) == PACKET


ADDRESSES = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
PORTS = st.integers(0, 65_535)
PACKETS = st.sampled_from(ADDRESSES).flatmap(
    lambda addresses: st.builds(
        HepPacket,
        st.integers(0, 255),
        st.builds(Endpoint, addresses, PORTS),
        st.builds(Endpoint, addresses, PORTS),
        at_us=st.integers(0, 2**32 * 1_000_000 - 1),
        capture_id=st.integers(0, 2**32 - 1),
        correlation_id=st.binary(max_size=300),
        payload=st.binary(max_size=300),
        key=st.binary(max_size=30),
    )
)


@given(PACKETS)
def test_each_packet_is_what_it_was(packet: HepPacket) -> None:
    assert decode_packet(encode_packet(packet)) == packet


def test_what_does_not_fit_is_refused() -> None:
    fields = {name: getattr(PACKET, name) for name in PACKET.__struct_fields__}
    for changed in ({"payload": bytes(MAX_PACKET_BYTES)}, {"correlation_id": bytes(65_530)}):
        with pytest.raises(ValueError, match="bytes"):
            encode_packet(HepPacket(**{**fields, **changed}))
    with pytest.raises(ValueError, match="different IP versions"):
        encode_packet(HepPacket(**{**fields, "source": Endpoint("::1", 1)}))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: VECTOR[:6] + data))
def test_any_bytes_are_a_packet_or_an_error(data: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        decode_packet(data)


@given(st.integers(6, len(VECTOR) - 1), st.integers(0, 255))
def test_a_changed_byte_is_a_packet_or_an_error(at: int, value: int) -> None:
    data = bytearray(VECTOR)
    data[at] = value
    with contextlib.suppress(MalformedRequest):
        decode_packet(bytes(data))


@pytest.mark.node
@pytest.mark.parametrize("version", [4, 6])
def test_homers_own_library_reads_what_nh_writes(version: int) -> None:
    fields = {name: getattr(PACKET, name) for name in PACKET.__struct_fields__}
    if version == 6:
        fields |= {"source": Endpoint("2001:db8::1", 1), "destination": Endpoint("2001:db8::2", 2)}
    data = encode_packet(HepPacket(**{**fields, "key": b"secret"}))
    program = (
        "const hep = require('hep-js'); let data = '';"
        "process.stdin.on('data', (part) => data += part).on('end', () =>"
        " console.log(JSON.stringify(hep.decapsulate(Buffer.from(data, 'hex')))));"
    )
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    run = subprocess.run(
        ["node", "-e", program], input=data.hex(), env=environment, capture_output=True, text=True, check=True
    )
    read = json.loads(run.stdout)
    rcinfo = read["rcinfo"]
    assert read["payload"] == PACKET.payload.decode()
    assert rcinfo["correlation_id"] == PACKET.correlation_id.decode()
    assert (rcinfo["payloadType"], rcinfo["captureId"], rcinfo["capturePass"]) == (
        100,
        2001,
        "secret",
    )
    assert (rcinfo["timeSeconds"], rcinfo["timeUseconds"]) == divmod(PACKET.at_us, 1_000_000)
    assert (rcinfo["srcPort"], rcinfo["dstPort"]) == (fields["source"].port, fields["destination"].port)
    if version == 4:
        assert (rcinfo["srcIp"], rcinfo["dstIp"]) == ("192.0.2.1", "198.51.100.2")


REPORT = {
    "ssrc": 0xB2,
    "type": 200,
    "report_count": 1,
    "sender_information": {
        "ntp_timestamp_sec": 1,
        "ntp_timestamp_usec": 0x80000000,
        "rtp_timestamp": 0,
        "packets": 0,
        "octets": 0,
    },
    "report_blocks": [
        {
            "source_ssrc": 0xA1,
            "fraction_lost": 64,
            "packets_lost": 0,
            "highest_seq_no": 4711,
            "ia_jitter": 12,
            "lsr": 7,
            "dlsr": 65_536,
        }
    ],
}


def test_a_sender_report_is_what_rtpengine_makes_of_it() -> None:
    block = report_block(0xA1, lsr=7, dlsr_s=1.0, fraction_lost=64, highest=4711, jitter=12)
    packet = sender_report(0xB2, 0x18000, block)
    description = struct.pack("!BBHI", 0x81, 202, 1, 0xB2)
    assert rtcp_to_json(packet) == rtcp_to_json(packet + description) == REPORT
    assert rtcp_to_json(packet + bye()) == REPORT


def test_a_receiver_report_may_have_no_block() -> None:
    assert rtcp_to_json(receiver_report(0xB2)) == {
        "ssrc": 0xB2,
        "type": 201,
        "report_count": 0,
        "report_blocks": [],
    }


def test_more_packets_than_expected_are_a_negative_loss() -> None:
    packet = bytearray(receiver_report(1, report_block(2, lsr=0)))
    packet[13:16] = (-3).to_bytes(3, "big", signed=True)
    report = rtcp_to_json(bytes(packet))
    assert report is not None
    assert report["report_blocks"][0]["packets_lost"] == -3


def test_what_is_encrypted_or_has_no_report_says_nothing() -> None:
    report = sender_report(0xB2, 7)
    for packet in (
        report + bytes(14),  # as SRTCP: an index and a tag (RFC 3711 3.4)
        report[:-1],
        struct.pack("!BBHI", 0x81, 202, 1, 0xB2),
        struct.pack("!BBHI", 0x82, 201, 1, 1),  # two blocks are missing
        report + bye()[:2],
        b"",
    ):
        assert rtcp_to_json(packet) is None


@given(st.binary(max_size=120))
def test_any_bytes_have_a_report_or_none(packet: bytes) -> None:
    report = rtcp_to_json(packet)
    assert report is None or report["report_count"] == len(report["report_blocks"])
