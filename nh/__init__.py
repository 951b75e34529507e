"""nh: an RTP media relay (NAT helper) for SIP proxies.

`nh run` is the relay; as a library, `from nh import Helper, Server, Client` (docs/how-to/library.md). The
names are loaded when they are first used, so that `nh --version` and the shards need not load all of them.
"""

from typing import TYPE_CHECKING

from nh.version import __version__

if TYPE_CHECKING:
    from nh.asyncio_loop import AsyncioLoop
    from nh.client import Client, NativeClient
    from nh.loop import SelectorLoop
    from nh.server import Server
    from nh.shard.relay import Helper

__all__ = ["AsyncioLoop", "Client", "Helper", "NativeClient", "SelectorLoop", "Server", "__version__"]

_HOME = {
    "AsyncioLoop": "nh.asyncio_loop",
    "Client": "nh.client",
    "Helper": "nh.shard.relay",
    "NativeClient": "nh.client",
    "SelectorLoop": "nh.loop",
    "Server": "nh.server",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nh' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # see the module's docstring

    return getattr(importlib.import_module(_HOME[name]), name)
