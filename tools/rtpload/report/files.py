"""The files of a report: looked at before a load, because what is found behind it costs the report."""

import os
import stat
from pathlib import Path

from nh.errors import ConfigError
from nh.paths import is_permitted, is_read_only, mode_of
from tools.rtpload.errors import LoadFailed


def check_file(flag: str, path: Path) -> None:
    """Return if a file can be written there.

    Args:
        flag: that names the file, for the message.
        path: the file, which may exist.

    Raises:
        ConfigError: it cannot; the message says why.
    """
    try:
        mode, above = mode_of(path), mode_of(path.parent)
    except OSError as exc:
        raise ConfigError(f"{flag} {path}: {exc.strerror}; name another file") from exc
    if mode is not None and stat.S_ISDIR(mode):
        raise ConfigError(f"{flag} {path}: it is a directory; name a file in it")
    if above is None or not stat.S_ISDIR(above):
        raise ConfigError(f"{flag} {path}: there is no directory {path.parent}")
    existing = path.parent if mode is None else path
    if not is_permitted(existing, os.W_OK):
        if is_read_only(existing):
            raise ConfigError(f"{flag} {path}: its file system is mounted read-only; name another file")
        raise ConfigError(f"{flag} {path}: this user may not write there; name another file")


def write_file(path: Path, content: bytes) -> None:
    """Write a report. Raises LoadFailed if that is not possible after all, as on a full disk."""
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise LoadFailed(f"the report cannot be written to {path}: {exc.strerror}") from exc
