"""Which nh `nh calls`, `nh close` and `nh drain` speak to."""

from pathlib import Path

from nh.cli.options import settings_of
from nh.client import NativeClient


def connect(config: Path | None, runtime_dir: str | None, rpc: str | None) -> NativeClient:
    """A connection to the first RPC address that the options, the environment or the file name.

    Raises ConfigError for options that cannot be used, Unavailable if nothing answers there.
    """
    return NativeClient(settings_of(config, runtime_dir, rpc).rpc_addresses[0])
