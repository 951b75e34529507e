"""Credentials of ICE: a user fragment and a password (RFC 8445 5.3, RFC 8839 5.4)."""

import base64
import re
import secrets
from typing import Final

MAX_CHARACTERS: Final = 256
"""Longest user fragment, and longest password."""

_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")


class IceCredentials:
    """A user fragment and its password. Its text form tells nothing of the password.

    Attributes:
        ufrag: 4 to 256 characters of base64.
        password: 22 to 256 of them.
        ufrag_bytes, key: both as bytes, as STUN has them.

    Raises:
        ValueError: they are none.
    """

    __slots__ = ("key", "password", "ufrag", "ufrag_bytes")

    def __init__(self, ufrag: str, password: str) -> None:
        if not _UFRAG.match(ufrag) or not _PASSWORD.match(password):
            raise ValueError("no credentials of ICE (RFC 8839 5.4)")
        self.ufrag = ufrag
        self.password = password
        self.ufrag_bytes = ufrag.encode()
        self.key = password.encode()

    def __repr__(self) -> str:
        return f"IceCredentials({self.ufrag})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IceCredentials):
            return NotImplemented
        return (self.ufrag, self.password) == (other.ufrag, other.password)

    def __hash__(self) -> int:
        return hash((self.ufrag, self.password))


def new_credentials() -> IceCredentials:
    """Random credentials: 48 bits of user fragment, 144 bits of password (RFC 8445 5.3: 24 and 128)."""
    return IceCredentials(_random(6), _random(18))


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()
