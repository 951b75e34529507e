"""STUN messages: the test vectors of RFC 5769, aioice's codec as the oracle, and bad input."""

import os
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.ice.stun import (
    BINDING,
    MACS,
    NotStun,
    StunAttribute,
    StunClass,
    decode,
    encode,
    error_code,
    is_stun,
    unknown_attributes,
    xor_mapped_address,
)

KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a6836765920202000080014"
    "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200014"
    "0002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)


# --- RFC 5769 -------------------------------------------------------------------------------------


def test_the_sample_request_is_read() -> None:
    message = decode(REQUEST)
    assert (message.kind, message.method) == (StunClass.REQUEST, BINDING)
    assert message.transaction == TRANSACTION
    assert message.attributes[StunAttribute.USERNAME] == b"evtj:h6vY"
    assert message.attributes[StunAttribute.PRIORITY].hex() == "6e0001ff"
    assert message.attributes[StunAttribute.SOFTWARE] == b"STUN test client"
    assert message.attributes[StunAttribute.ICE_CONTROLLED].hex() == "932ff9b151263b36"
    assert message.unknown == []
    assert message.authenticated_by(KEY) == StunAttribute.MESSAGE_INTEGRITY
    assert message.authenticated_by(b"another password") is None


@pytest.mark.parametrize(
    ("sample", "address"),
    [(RESPONSE_IPV4, "192.0.2.1"), (RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_the_sample_responses_are_read_and_their_address_is_written(sample: bytes, address: str) -> None:
    message = decode(sample)
    assert message.kind is StunClass.SUCCESS
    assert message.authenticated_by(KEY)
    kind, value = xor_mapped_address(address, 32853, TRANSACTION)
    assert message.attributes[kind] == value


# --- the oracle -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oracle() -> Any:
    """aioice's codec."""
    return pytest.importorskip("aioice.stun")


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(address=addresses, port=st.integers(1, 65535), transaction=st.binary(min_size=12, max_size=12))
def test_what_nh_writes_aioice_reads(oracle: Any, address: str, port: int, transaction: bytes) -> None:
    written = encode(
        StunClass.SUCCESS, transaction, [xor_mapped_address(address, port, transaction)], key=KEY
    )
    read = oracle.parse_message(written)
    assert read.check_message_integrity(KEY)
    assert read.transaction_id == transaction
    assert read.attributes["XOR-MAPPED-ADDRESS"] == (address, port)
    assert (read.message_class, read.message_method) == (oracle.Class.RESPONSE, oracle.Method.BINDING)


def test_errors_are_written_as_aioice_reads_them(oracle: Any) -> None:
    attributes = [error_code(420, "Unknown Attribute"), unknown_attributes([0x7FFF, 1])]
    read = oracle.parse_message(encode(StunClass.ERROR, TRANSACTION, attributes, key=KEY))
    assert read.check_message_integrity(KEY)
    assert read.attributes["ERROR-CODE"] == (420, "Unknown Attribute")
    assert decode(encode(StunClass.ERROR, TRANSACTION, attributes)).attributes[
        StunAttribute.UNKNOWN_ATTRIBUTES
    ] == bytes.fromhex("7fff0001")


@given(
    username=st.text(min_size=1, max_size=100), priority=st.integers(0, 2**32 - 1), nominates=st.booleans()
)
def test_what_aioice_writes_nh_reads(oracle: Any, username: str, priority: int, nominates: bool) -> None:
    request = oracle.Message(message_method=oracle.Method.BINDING, message_class=oracle.Class.REQUEST)
    request.attributes["USERNAME"] = username
    request.attributes["PRIORITY"] = priority
    request.attributes["ICE-CONTROLLING"] = 7
    if nominates:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(KEY)
    message = decode(bytes(request))
    assert message.attributes[StunAttribute.USERNAME] == username.encode()
    assert int.from_bytes(message.attributes[StunAttribute.PRIORITY]) == priority
    assert (StunAttribute.USE_CANDIDATE in message.attributes) is nominates
    assert message.authenticated_by(KEY) == StunAttribute.MESSAGE_INTEGRITY


# --- integrity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mac", list(MACS))
@given(username=st.binary(max_size=64), method=st.integers(0, 0xFFF), kind=st.sampled_from(StunClass))
def test_what_was_written_is_read_again(mac: int, username: bytes, method: int, kind: StunClass) -> None:
    attributes = [(StunAttribute.USERNAME, username), (0x7ABC, b"x")]
    written = encode(kind, TRANSACTION, attributes, key=KEY, mac=mac, method=method)
    message = decode(memoryview(written))
    assert (message.kind, message.method, message.transaction) == (kind, method, TRANSACTION)
    assert message.attributes[StunAttribute.USERNAME] == username
    assert message.unknown == [0x7ABC]
    assert message.authenticated_by(KEY) == mac
    assert message.authenticated_by(KEY[1:]) is None


@given(at=st.integers(0, len(REQUEST) - 1), bit=st.integers(0, 7))
def test_a_changed_bit_is_found(at: int, bit: int) -> None:
    changed = bytearray(REQUEST)
    changed[at] ^= 1 << bit
    with pytest.raises(NotStun):
        decode(bytes(changed))


def test_attributes_behind_the_integrity_do_not_count() -> None:
    """An attacker could add them, and write the FINGERPRINT anew."""
    whole = encode(StunClass.REQUEST, TRANSACTION, [(StunAttribute.USERNAME, b"a:b")], key=KEY)
    forged = whole[:-8] + bytes.fromhex("00250000")
    for sealed in (with_fingerprint(forged), with_fingerprint(forged + bytes.fromhex("7abc0000"))):
        message = decode(sealed)
        assert StunAttribute.USE_CANDIDATE not in message.attributes
        assert message.unknown == []
        assert message.authenticated_by(KEY)


def test_the_stronger_integrity_decides() -> None:
    whole = encode(
        StunClass.REQUEST,
        TRANSACTION,
        [(StunAttribute.USERNAME, b"a:b")],
        key=KEY,
        mac=StunAttribute.MESSAGE_INTEGRITY,
    )
    wrong = with_fingerprint(whole[:-8] + bytes.fromhex("001c0020") + bytes(32))
    assert decode(wrong).authenticated_by(KEY) is None


def with_fingerprint(message: bytes) -> bytes:
    """A message with the right length, and with a FINGERPRINT at its end."""
    head = message[:2] + (len(message) - 20 + 8).to_bytes(2) + message[4:]
    return head + b"\x80\x28\0\4" + (zlib.crc32(head) ^ 0x5354554E).to_bytes(4)


# --- bad input ------------------------------------------------------------------------------------


@given(packet=st.binary(max_size=200))
def test_noise_is_no_message(packet: bytes) -> None:
    with pytest.raises(NotStun):
        decode(packet)


@given(tail=st.binary(max_size=120), kind=st.integers(0, 0x3FFF), claimed=st.integers(0, 0xFFFF))
def test_a_header_alone_makes_no_message(tail: bytes, kind: int, claimed: int) -> None:
    head = kind.to_bytes(2) + claimed.to_bytes(2) + b"\x21\x12\xa4\x42" + TRANSACTION
    with pytest.raises(NotStun):
        decode(head + tail)


@given(cut=st.integers(0, len(REQUEST) - 1))
def test_a_truncated_message_is_none(cut: int) -> None:
    with pytest.raises(NotStun):
        decode(REQUEST[:cut])


def test_a_message_needs_a_fingerprint_and_nothing_behind_it() -> None:
    for packet in (
        b"\0\1\0\0\x21\x12\xa4\x42" + TRANSACTION,
        REQUEST + b"\0\0\0\0",
        b"\0\1\0\4\x21\x12\xa4\x42" + TRANSACTION + b"\x80\x28\0\0",
    ):
        with pytest.raises(NotStun):
            decode(packet)


def test_a_giant_is_no_message() -> None:
    giant = encode(StunClass.REQUEST, TRANSACTION, [(StunAttribute.USERNAME, os.urandom(1300))], key=KEY)
    with pytest.raises(NotStun):
        decode(giant)


def test_stun_is_told_by_its_first_bytes() -> None:
    assert is_stun(REQUEST) and is_stun(memoryview(RESPONSE_IPV6))
    assert is_stun(b"\x03" + REQUEST[1:])
    assert not any(is_stun(bytes([first]) + REQUEST[1:]) for first in (4, 20, 64, 0x80))
    assert not is_stun(REQUEST[:19])
    assert not is_stun(b"")
