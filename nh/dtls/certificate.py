"""The relay's own certificates, as they are saved with calls."""

import msgspec


class Certificate(msgspec.Struct, array_like=True, frozen=True):
    """A certificate with its private key; its text form tells nothing of that.

    Attributes:
        der: the certificate.
        key: its private key, PKCS 8.
        made: seconds since 1970.
    """

    der: bytes
    key: bytes
    made: float

    def __repr__(self) -> str:
        return f"Certificate({len(self.der)} bytes)"
