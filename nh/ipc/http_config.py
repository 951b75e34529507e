"""What the supervisor sends the HTTP process (nh.http) over its link.

First an HttpConfig: where to serve and whom to ask; then LogSettings whenever they change. If the supervisor
hands over, LINGER follows, and the process serves on until the next one does. The end of the link without
LINGER means that the supervisor has ended. In the other direction goes HEARTBEAT every HEARTBEAT_S seconds.
"""

from typing import Final

import msgspec

from nh.logs.settings import LogSettings


class HttpConfig(msgspec.Struct, frozen=True):
    """The settings of the HTTP process.

    Attributes:
        listeners: descriptors of listening TCP sockets, inherited under these numbers.
        local: whether all of them listen on loopback.
        runtime_path: the runtime directory, from which the statistics have their name.
        rpc: where nh serves RPC.
        ng: the Unix socket at which nh serves ng for this process; "": ng is not served over HTTP.
        command_timeout_s: a shard may take so many seconds for one command.
        log: what to log, and how.
        token_sha256: SHA-256 of the token that changes need; b"": there is none.
        private: reading needs the token, too.
        stats_fd: descriptor of the statistics, inherited as this number; -1: they are opened by their name.
    """

    listeners: tuple[int, ...]
    local: bool
    runtime_path: str
    rpc: str
    ng: str
    command_timeout_s: float
    log: LogSettings
    token_sha256: bytes = b""
    private: bool = False
    stats_fd: int = -1

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that the process inherits."""
        return self.listeners if self.stats_fd < 0 else (*self.listeners, self.stats_fd)


MAX_RECORD_BYTES: Final = 65_536
"""Longest record."""

HEARTBEAT: Final = b"."
HEARTBEAT_S: Final = 1.0
"""The event loop of the process turns: neither stopped nor spinning."""

LINGER: Final = b"linger"
"""Serve on for LINGER_S seconds, then end."""

LINGER_S: Final = 3.0
"""The next process takes less to start, so no client finds a closed door."""


def encode(message: HttpConfig | LogSettings) -> bytes:
    """The record for the link."""
    return msgspec.json.encode(message)


def decode_config(record: bytes) -> HttpConfig:
    """The reverse of encode() for the first record. Raises msgspec.DecodeError."""
    return msgspec.json.decode(record, type=HttpConfig)


def decode_log(record: bytes) -> LogSettings:
    """The reverse of encode() for a later record. Raises msgspec.DecodeError."""
    return msgspec.json.decode(record, type=LogSettings)
