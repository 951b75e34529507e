"""nh.sdp.crypto: a=crypto lines as phones write them (RFC 4568)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.commands import SdesOptions
from nh.sdp.crypto import MAX_LINES, CryptoAttribute, limit_suites, read_crypto, write_crypto
from nh.sdp.parse import parse
from nh.srtp.keys import MasterKey
from nh.srtp.suites import SUITES

KEY = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
KEY_256 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLQ=="


@pytest.mark.parametrize(
    ("value", "suite", "mki"),
    [
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4", "AES_CM_128_HMAC_SHA1_80", b"\0\0\0\1"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31", "AES_CM_128_HMAC_SHA1_80", b""),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1048576", "AES_CM_128_HMAC_SHA1_80", b""),
        (f"1 aes_cm_128_hmac_sha1_32 INLINE:{KEY}", "AES_CM_128_HMAC_SHA1_32", b""),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|7:1", "AES_CM_128_HMAC_SHA1_80", b"\7"),
        (f"1  AES_CM_128_HMAC_SHA1_80\tinline:{KEY} WSH=64 KDR=0", "AES_CM_128_HMAC_SHA1_80", b""),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}", "AES_CM_128_HMAC_SHA1_80", b""),
        (f"1 AES_CM_256_HMAC_SHA1_80 inline:{KEY_256}", "AES_256_CM_HMAC_SHA1_80", b""),
        (f"1 AES_256_CM_HMAC_SHA1_32 inline:{KEY_256.rstrip('=')}", "AES_256_CM_HMAC_SHA1_32", b""),
    ],
)
def test_lines_that_phones_write_are_read(value: str, suite: str, mki: bytes) -> None:
    (line,) = read_crypto([value.encode()])
    assert (line.tag, line.key.suite.name, line.key.mki) == (1, suite, mki)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        f"x AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"1 F8_128_HMAC_SHA1_80 inline:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:-4]}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}AAAA",
        "1 AES_CM_128_HMAC_SHA1_80 inline:",
        "1 AES_CM_128_HMAC_SHA1_80 inline:####",
        f"1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:0",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:129",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|256:1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=4",
    ],
)
def test_lines_that_nh_cannot_use_are_left_out(value: str) -> None:
    good = f"2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}".encode()
    assert [line.tag for line in read_crypto([value.encode(), good])] == [2]


@given(st.lists(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode()), max_size=3))
def test_any_bytes_are_read_or_left_out(values: list[bytes]) -> None:
    assert len(read_crypto(values)) <= len(values)


def test_a_medium_has_a_bounded_number_of_lines() -> None:
    lines = [f"{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}".encode() for tag in range(100)]
    assert len(read_crypto(lines)) == MAX_LINES


@given(
    suite=st.sampled_from(sorted(SUITES)),
    tag=st.integers(0, 10**9 - 1),
    material=st.binary(min_size=46, max_size=46),
    mki=st.binary(max_size=8),
    pad=st.booleans(),
    lifetime=st.booleans(),
)
def test_what_is_written_is_read(
    *, suite: str, tag: int, material: bytes, mki: bytes, pad: bool, lifetime: bool
) -> None:
    what = SUITES[suite]
    key = MasterKey(what, material[: what.key_bytes], material[-what.salt_bytes :], mki)
    line = write_crypto(tag, key, pad=pad, lifetime=lifetime)
    assert read_crypto([line.removeprefix(b"a=crypto:")]) == [CryptoAttribute(tag, key)]


# --- the suites that a client permits -----------------------------------------------------------------

LINES = [
    b"1 aes_cm_128_hmac_sha1_80 inline:x",
    b"2 AES_256_CM_HMAC_SHA1_80 inline:x",
    b"3 AES_CM_256_HMAC_SHA1_80 inline:x",  # as drafts of RFC 6188 have it
    b"4 F8_128_HMAC_SHA1_80 inline:x",  # unknown
]
AES_128, AES_256 = "AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80"


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        (SdesOptions(), "1234"),
        (SdesOptions(excluded=(AES_128,)), "234"),
        (SdesOptions(excluded=(AES_256,)), "14"),
        (SdesOptions(only=(AES_256,)), "23"),
        (SdesOptions(order=(AES_256,)), "2314"),
        (SdesOptions(only=(AES_128, AES_256), order=(AES_256, AES_128)), "231"),
        (SdesOptions(only=("AEAD_AES_128_GCM",)), "1234"),  # a medium without any such line keeps all
    ],
)
def test_the_lines_that_a_client_permits_pass_in_its_order(options: SdesOptions, passed: str) -> None:
    crypto = b"".join(b"a=crypto:%b\r\n" % line for line in LINES)
    sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n" + crypto
    limited = limit_suites(parse(sdp), [0], options)
    assert "".join(each.value[:1].decode() for each in limited.media[0].attributes["crypto"]) == passed
