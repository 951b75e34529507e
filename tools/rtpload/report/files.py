"""The files of a report: looked at before a load, because what is found behind it costs the report."""

import os
from pathlib import Path

from nh.errors import ConfigError
from tools.rtpload.errors import LoadFailed


def check_file(flag: str, path: Path) -> None:
    """Return if a file can be written there.

    Args:
        flag: that names the file, for the message.
        path: the file, which may exist.

    Raises:
        ConfigError: it cannot; the message says why.
    """
    if path.is_dir():
        raise ConfigError(f"{flag} {path}: it is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{flag} {path}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{flag} {path}: this user may not write there; name another file")


def write_file(path: Path, content: bytes) -> None:
    """Write a report. Raises LoadFailed if that is not possible after all, as on a full disk."""
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise LoadFailed(f"the report cannot be written to {path}: {exc.strerror}") from exc
