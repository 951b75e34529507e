"""The settings in force and secrets of files, which a supervisor that goes on itself hands over to itself.

The file that it would read again may be what stopped the process that was to take over. The settings have
secrets: they are sent to no other process, and are in no file.
"""

import logging
from pathlib import Path

import msgspec

from nh.config import Settings
from nh.config.sources import LoadedSettings
from nh.supervisor.host.secret_file import go_on_with, secrets_in_force
from nh.version import __version__

logger = logging.getLogger(__name__)


class _SettingsMessage(msgspec.Struct, frozen=True):
    """See LoadedSettings; file: "" is none. Secrets: see nh.supervisor.host.secret_file."""

    settings: Settings
    origins: dict[str, str]
    file: str
    secrets: dict[str, str] = {}


def encode_settings(loaded: LoadedSettings) -> bytes:
    """Encode settings for HandoverMessage."""
    file = str(loaded.file) if loaded.file is not None else ""
    return msgspec.msgpack.encode(
        _SettingsMessage(loaded.settings, dict(loaded.origins), file, dict(secrets_in_force()))
    )


def decode_settings(content: bytes) -> LoadedSettings | None:
    """Decode settings of a HandoverMessage; None: there are none, or this release does not accept them.

    From then on this process goes on with the secrets that came with them.
    """
    if not content:
        return None
    try:
        message = msgspec.msgpack.decode(content, type=_SettingsMessage)
    except msgspec.DecodeError:  # its text may have a secret
        logger.warning("nh %s does not accept the settings in force: it reads them again", __version__)
        return None
    go_on_with(message.secrets)
    return LoadedSettings(message.settings, message.origins, Path(message.file) if message.file else None)
