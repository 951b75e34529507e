"""nh: an RTP media relay (NAT helper) for SIP proxies.

`nh run` is the relay; as a library, `from nh import Helper, Server, Client` (docs/how-to/library.md). The
names are loaded when they are first used, so that `nh --version` and the shards need not load all of them.
"""

from nh.version import __version__

TYPE_CHECKING = False  # that of typing takes long to load, and Ctrl-C has to be silent before (nh.interrupt)
if TYPE_CHECKING:
    from nh.asyncio_loop import AsyncioLoop
    from nh.calls.settings import RelayConfig, RelaySettings
    from nh.client import Client, NativeClient
    from nh.loop import SelectorLoop
    from nh.server import Server
    from nh.shard.relay import Relay as Helper

__all__ = [
    "AsyncioLoop",
    "Client",
    "Helper",
    "NativeClient",
    "RelayConfig",
    "RelaySettings",
    "SelectorLoop",
    "Server",
    "__version__",
]

_HOME = {
    "AsyncioLoop": ("nh.asyncio_loop", "AsyncioLoop"),
    "Client": ("nh.client", "Client"),
    "Helper": ("nh.shard.relay", "Relay"),  # Net::SIP's name
    "NativeClient": ("nh.client", "NativeClient"),
    "RelayConfig": ("nh.calls.settings", "RelayConfig"),
    "RelaySettings": ("nh.calls.settings", "RelaySettings"),
    "SelectorLoop": ("nh.loop", "SelectorLoop"),
    "Server": ("nh.server", "Server"),
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nh' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # see the module's docstring

    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)
