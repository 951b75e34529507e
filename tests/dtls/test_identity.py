"""The relay's own certificates: ready for handshakes, or an error that says that they are damaged."""

import contextlib
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from nh.dtls.certificate import Certificate
from nh.dtls.identity import Identity, new_certificate
from tests.profiles import examples

CERTIFICATE = new_certificate(wall=1.8e9)
ANOTHER = new_certificate(wall=1.8e9)


@settings(max_examples=examples(300), deadline=None)
@given(
    part=st.sampled_from(["der", "key"]),
    at=st.integers(0, len(CERTIFICATE.der) - 1),
    change=st.integers(1, 255),
)
def test_a_changed_byte_is_harmless_or_noticed(part: str, at: int, change: int) -> None:
    data = bytearray(getattr(CERTIFICATE, part))
    data[at % len(data)] ^= change
    with contextlib.suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `cryptography`, for what it still takes
        Identity(structs.replace(CERTIFICATE, **{part: bytes(data)}))


@pytest.mark.parametrize(
    "damaged",
    [
        structs.replace(CERTIFICATE, der=b""),
        structs.replace(CERTIFICATE, der=CERTIFICATE.der[:-1]),
        structs.replace(
            CERTIFICATE, der=CERTIFICATE.der.replace(b"\x2a\x86\x48\xce\x3d", b"\x2a\x86\x48\xcf\x3d")
        ),
        structs.replace(CERTIFICATE, key=b""),
        structs.replace(CERTIFICATE, key=CERTIFICATE.key[:-1]),
        structs.replace(CERTIFICATE, key=ANOTHER.key),
    ],
    ids=["no certificate", "cut short", "an unknown curve", "no key", "the key cut short", "another key"],
)
def test_a_damaged_certificate_is_an_error(damaged: Certificate) -> None:
    with pytest.raises(ValueError, match=r"."):
        Identity(damaged)
