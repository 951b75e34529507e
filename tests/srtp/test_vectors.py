"""The test vectors of RFC 3711 B.3 and RFC 7714 16, 17, and a packet that libsrtp validates itself with."""

from nh.srtp.ciphers import BUFFER_BYTES, GcmCipher
from nh.srtp.derivation import SessionKeys, derive_keys
from nh.srtp.direction import INDEX_BITS
from nh.srtp.keys import MasterKey
from nh.srtp.sender import SrtpSender
from nh.srtp.state import DirectionState
from nh.srtp.suites import SUITES

MASTER = MasterKey(
    SUITES["AES_CM_128_HMAC_SHA1_80"],
    bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139"),
    bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6"),
)

GALLIA = b"Gallia est omnis divisa in partes tres"
GALLIA_HEADER = bytes.fromhex("8040f17b8041f8d35501a0b2")
QUID_PRO_QUO = bytes.fromhex("517569642070726f2071756f")


def test_session_keys_are_derived_as_in_rfc_3711_b_3() -> None:
    keys, _ = derive_keys(MASTER)
    assert keys.cipher_key.hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert keys.salt.hex() == "30cbbc08863d8c85d49db34a9ae1"
    assert keys.auth_key.hex() == "cebe321f6ff7716b6fd4ab49af256a156d38baa4"


def test_rtp_is_protected_as_libsrtp_does() -> None:
    sender = SrtpSender(MASTER, bytearray(BUFFER_BYTES))
    packet = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
    assert sender.protect(memoryview(packet)).hex() == (
        "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
    )


def test_rtcp_is_protected_as_libsrtp_does() -> None:
    """libsrtp begins with the index 1."""
    sender = SrtpSender(MASTER, bytearray(BUFFER_BYTES))
    packet = memoryview(bytes.fromhex("81c8000bcafebabe") + b"\xab" * 16)
    sender.protect(packet)
    assert sender.protect(packet).hex() == (
        "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"
    )


def test_rtp_is_sealed_as_in_rfc_7714_16_1_1() -> None:
    buffer = bytearray(BUFFER_BYTES)
    cipher = GcmCipher(SessionKeys(bytes(range(16)), b"", QUID_PRO_QUO), buffer)
    packet = memoryview(GALLIA_HEADER + GALLIA)
    end = cipher.encrypt(packet, 12, 0x5501A0B2 << INDEX_BITS | 0xF17B, b"")
    assert buffer[:end].hex() == (
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b"
        "36de3adf8833899d7f27beb16a9152cf765ee4390cce"
    )


def test_rtp_is_sealed_as_in_rfc_7714_16_2_1() -> None:
    buffer = bytearray(BUFFER_BYTES)
    cipher = GcmCipher(SessionKeys(bytes(range(32)), b"", QUID_PRO_QUO), buffer)
    end = cipher.encrypt(memoryview(GALLIA_HEADER + GALLIA), 12, 0x5501A0B2 << INDEX_BITS | 0xF17B, b"")
    assert buffer[:end].hex() == (
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f"
        "1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13"
    )


def test_a_state_tells_nothing_of_the_key() -> None:
    sender = SrtpSender(MASTER, bytearray(BUFFER_BYTES))
    assert sender.to_state() == DirectionState([], [], 0)
    assert repr(MASTER) == "MasterKey(AES_CM_128_HMAC_SHA1_80)"
