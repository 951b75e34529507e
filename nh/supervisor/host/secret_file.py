"""Secrets in files: read once, from a file that no other user may read; their content is in no message.

A supervisor that goes on itself after a failed takeover goes on with those that it has read: a file may have
been replaced for the other process, or be what stopped that one.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nh.errors import ConfigError

MAX_SECRET_BYTES: Final = 4096
"""Longest file of a secret."""

_read: Final[dict[str, str]] = {}
"""What this process has read, by path."""

_handed_over: Final[dict[str, str]] = {}
"""What it goes on with, by path."""


def secrets_in_force() -> Mapping[str, str]:
    """The secrets that this process has read or goes on with, by path."""
    return _handed_over | _read


def go_on_with(secrets: Mapping[str, str]) -> None:
    """Have read_secret() return these instead of reading their files.

    Args:
        secrets: of secrets_in_force().
    """
    _handed_over.update(secrets)


def read_secret(setting: str, path: Path) -> str:
    """The text of a file, without a line end behind it.

    Args:
        setting: the setting that names the file, for the error message.
        path: the file.

    Raises:
        ConfigError: see read_private(); or it holds no line of printable ASCII.
    """
    if str(path) in _handed_over:
        return _handed_over[str(path)]
    content = read_private(setting, path)
    text = content.decode("ascii", "replace").rstrip("\r\n")
    if not text or len(content) > MAX_SECRET_BYTES or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{setting}: {path} is not one line of printable ASCII")
    _read[str(path)] = text
    return text


def read_private(setting: str, path: Path) -> bytes:
    """The first MAX_SECRET_BYTES + 1 bytes of a file.

    Args:
        setting: the setting that names the file, for the error message.
        path: the file.

    Raises:
        ConfigError: it cannot be read, or others may read or change it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO without a writer blocks
    except OSError as exc:
        raise _unreadable(setting, path, exc) from exc
    try:
        _check_rights(setting, path, os.fstat(fd))
        return os.read(fd, MAX_SECRET_BYTES + 1)
    except OSError as exc:
        raise _unreadable(setting, path, exc) from exc
    finally:
        os.close(fd)


def _unreadable(setting: str, path: Path, exc: OSError) -> ConfigError:
    remedy = "the user of nh has to be able to read it; correct that or name another file"
    return ConfigError(f"{setting}: {path} cannot be read: {exc.strerror}; {remedy}")


def _check_rights(setting: str, path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{setting}: {path} is not a regular file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{setting}: {path} is open to other users (mode {mode:04o}); chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{setting}: {path} belongs to another user (uid {status.st_uid}); chown it")
