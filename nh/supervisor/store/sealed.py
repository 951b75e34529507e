"""A store whose calls are encrypted: an engine around another one, which sees no snapshot as it is.

Keys of SRTP are in snapshots (nh.calls.snapshots.secrets). Without a key file, a store on this host has them
in its private file, and a store on a server is not given the calls that have any.
"""

import hashlib
import hmac
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from nh.calls.snapshots.version import has_secrets
from nh.errors import ConfigError
from nh.supervisor.host.secret_file import read_secret
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall, StoreEngine, StoreRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

logger = logging.getLogger(__name__)

MIN_SECRET: Final = 32
"""Fewest characters in a key file."""

KEY_MISSING: Final = "its calls are encrypted; name the key with --state-key-file"
KEY_DIFFERS: Final = (
    "its calls are encrypted with another key than that of --state-key-file; copy the file of the relay that"
    " has the calls"
)

SEALED: Final = 0xE5
"""First byte of an encrypted snapshot; no snapshot begins so."""

_NONCE_BYTES: Final = 12
_CHECKED: Final = b"nh: check value of a key"


def read_state_key(path: str) -> bytes | None:
    """The key of the store, by the setting `state_key_file`; None without a file.

    Raises:
        ConfigError: the file cannot be used, or `cryptography` is not installed.
    """
    if not path:
        return None
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigError("state_key_file: needs the extra `srtp`; in nh's repository: pip install '.[srtp]'")
    secret = read_secret("state_key_file", Path(path))
    if len(secret) < MIN_SECRET:
        raise ConfigError(
            f"state_key_file: {path} has fewer than {MIN_SECRET} characters; make one: openssl rand -hex 32"
        )
    return hashlib.sha256(secret.encode()).digest()


def key_check(key: bytes | None) -> str:
    """The check value of a key: it tells two keys apart and gives neither away; "": there is no key."""
    return "" if key is None else hmac.digest(key, _CHECKED, "sha256")[:8].hex()


class SealedEngine:
    """Encrypts calls for another engine; nh.supervisor.store.engine.StoreEngine has the contract.

    Args:
        engine: the other one.
        key: 32 bytes, for AES-256-GCM, which needs `cryptography`; None: calls are stored as they are.
        remote: the other engine's store is not on this host: without a key, calls with secrets are left out.

    Attributes:
        check_s, lease: see StoreEngine.
    """

    def __init__(self, engine: StoreEngine, key: bytes | None, *, remote: bool) -> None:
        self._engine = engine
        self._gcm = None if key is None else _new_cipher(key)
        self._leaves_out = remote and key is None
        self._told = False
        self.check_s = engine.check_s
        self.lease = engine.lease

    @property
    def continues(self) -> bool:
        """See StoreEngine."""
        return self._engine.continues

    @property
    def epoch(self) -> int:
        """See StoreEngine."""
        return self._engine.epoch

    @property
    def unknown_epoch(self) -> int:
        """See StoreEngine."""
        return self._engine.unknown_epoch

    @property
    def name(self) -> str:
        """See StoreEngine."""
        return self._engine.name

    def open(self) -> list[StoredCall]:
        """Open the store and decrypt its calls; one that is not encrypted stays as it is. See StoreEngine.

        Raises:
            StoreRefused: calls are encrypted with another key.
        """
        try:
            return [self._unsealed(call) for call in self._engine.open()]
        except StoreDamaged as exc:
            raise StoreDamaged(str(exc), [self._unsealed(call) for call in exc.calls]) from exc
        except StoreRefused:
            self._engine.close()
            raise

    def write(self, changes: Changes) -> None:
        """See StoreEngine."""
        self._engine.write(
            {call_id: None if call is None else self._sealed(call) for call_id, call in changes.items()}
        )

    def flush(self) -> None:
        """See StoreEngine."""
        self._engine.flush()

    def check(self) -> None:
        """See StoreEngine."""
        self._engine.check()

    def close(self) -> None:
        """See StoreEngine."""
        self._engine.close()

    def make_room(self, size_bytes: int, /) -> bool:
        """See StoreEngine."""
        return self._engine.make_room(size_bytes)

    def quarantine(self, calls: Sequence[StoredCall], /) -> str:
        """See StoreEngine."""
        return self._engine.quarantine([call for call in map(self._sealed, calls) if call is not None])

    def _sealed(self, call: StoredCall) -> StoredCall | None:
        if self._gcm is not None:
            nonce = os.urandom(_NONCE_BYTES)
            sealed = self._gcm.encrypt(nonce, call.snapshot, call.call_id)
            return structs.replace(call, snapshot=bytes((SEALED,)) + nonce + sealed)
        if self._leaves_out and has_secrets(call.snapshot):
            if not self._told:
                self._told = True
                logger.warning(
                    "store %s: calls with keys of SRTP are not stored there without --state-key-file",
                    self.name,
                )
            return None
        return call

    def _unsealed(self, call: StoredCall) -> StoredCall:
        snapshot = call.snapshot
        if snapshot[:1] != bytes((SEALED,)):
            return call
        if self._gcm is None:
            raise StoreRefused(f"{self.name}: {KEY_MISSING}")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as in _new_cipher()

        nonce, sealed = snapshot[1 : 1 + _NONCE_BYTES], snapshot[1 + _NONCE_BYTES :]
        try:
            return structs.replace(call, snapshot=self._gcm.decrypt(nonce, sealed, call.call_id))
        except (InvalidTag, ValueError) as exc:
            raise StoreRefused(f"{self.name}: {KEY_DIFFERS}") from exc


def _new_cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  few stores are encrypted

    return AESGCM(key)
