"""What the supervisor sends the HTTP process (nh.http) over its link, once: where to serve and whom to ask.

The link carries nothing else. Its end tells the HTTP process that the supervisor has ended, or hands over.
"""

import msgspec

from nh.log_settings import LogSettings


class HttpConfig(msgspec.Struct, frozen=True):
    """The settings of the HTTP process.

    Attributes:
        listeners: descriptors of listening TCP sockets, inherited under these numbers.
        local: whether all of them listen on loopback.
        runtime_path: the runtime directory, by which the statistics are found.
        rpc: where nh serves RPC.
        ng: the Unix socket at which nh serves ng for this process; "": ng is not served over HTTP.
        command_timeout_s: a shard may take so many seconds for one command.
        log: what to log, and how.
    """

    listeners: tuple[int, ...]
    local: bool
    runtime_path: str
    rpc: str
    ng: str
    command_timeout_s: float
    log: LogSettings


def encode(config: HttpConfig) -> bytes:
    """The record for the link."""
    return msgspec.json.encode(config)


def decode(record: bytes) -> HttpConfig:
    """The reverse of encode(). Raises msgspec.DecodeError."""
    return msgspec.json.decode(record, type=HttpConfig)
