"""Master keys: what two ends agree on, by SDP for example."""

import dataclasses
import secrets

from nh.srtp.suites import CryptoSuite


@dataclasses.dataclass(frozen=True, repr=False, slots=True)
class MasterKey:
    """The key of one direction. Its text form tells nothing of it.

    Attributes:
        suite: how packets are protected with it.
        key: the master key.
        salt: the master salt.
        mki: the identifier that packets carry, b"": they carry none (RFC 3711 3.1).

    Raises:
        ValueError: key or salt have other lengths than the suite's.
    """

    suite: CryptoSuite
    key: bytes
    salt: bytes
    mki: bytes = b""

    def __post_init__(self) -> None:
        expected = (self.suite.key_bytes, self.suite.salt_bytes)
        if (len(self.key), len(self.salt)) != expected:
            raise ValueError(
                f"a key of {self.suite.name} has {expected[0]} bytes and a salt of {expected[1]}, "
                f"this one has {len(self.key)} and {len(self.salt)}"
            )

    def __repr__(self) -> str:
        return f"MasterKey({self.suite.name})"


def new_master_key(suite: CryptoSuite) -> MasterKey:
    """A random key."""
    return MasterKey(suite, secrets.token_bytes(suite.key_bytes), secrets.token_bytes(suite.salt_bytes))
