"""a=fingerprint: what is read, written, and matches."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.dtls.fingerprints import (
    ALGORITHMS,
    Fingerprint,
    any_matches,
    fingerprint_of,
    read_fingerprints,
    write_fingerprint,
)

DER = b"a certificate"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_written_is_read(algorithm: str) -> None:
    fingerprint = fingerprint_of(DER, algorithm)
    line = write_fingerprint(fingerprint)
    assert line.startswith(f"a=fingerprint:{algorithm} ".encode())
    value = line.removeprefix(b"a=fingerprint:")
    assert read_fingerprints([value, value.lower(), b" " + value.upper() + b" "]) == [fingerprint] * 3
    assert fingerprint.matches(DER)
    assert not fingerprint.matches(DER + b"!")


def test_sha_1_is_read_and_not_taken() -> None:
    digest = hashlib.sha1(DER, usedforsecurity=False).hexdigest().upper()
    colons = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    (fingerprint,) = read_fingerprints([f"SHA-1 {colons}".encode()])
    assert fingerprint.algorithm == "sha-1"
    assert not fingerprint.usable
    assert not fingerprint.matches(DER)


def test_a_digest_of_another_length_is_not_taken() -> None:
    assert not Fingerprint("sha-256", bytes(20)).usable
    assert not any_matches([], DER)


LIKE_FINGERPRINTS = st.tuples(st.sampled_from([*ALGORITHMS, "md5", "x"]), st.binary(max_size=70)).map(
    lambda parts: f"{parts[0]} {parts[1].hex(':')}".encode()
)


@given(st.lists(LIKE_FINGERPRINTS | st.binary(max_size=300), max_size=30))
def test_any_bytes_are_read(values: list[bytes]) -> None:
    for each in read_fingerprints(values):
        assert 16 <= len(each.digest) <= 64
