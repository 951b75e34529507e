"""Addresses of sockets: their families, and where an RPC socket is: at a path, or at a host and a port.

The text form of the latter is that of Net::SIP's nathelper.pl: text with a `/` is a path (a directory means
the file `socket` in it), all other text is HOST:PORT. Looks in the file system whether a path is a directory;
opens nothing and resolves no names.
"""

import ipaddress
import socket
import stat
from pathlib import Path
from typing import Final

import msgspec

from nh.errors import ConfigError
from nh.ip_address import host_port, is_ipv6
from nh.paths import mode_of

MAX_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux (unix(7): sun_path, less its final NUL)."""

_TRANSPORTS: Final = ("udp", "udp6", "tcp", "tcp6")
"""What other relays and SIP proxies write before an address and a colon."""


def socket_family(address: str) -> socket.AddressFamily:
    """The family of a socket at an IP address, with or without a zone."""
    return socket.AF_INET6 if is_ipv6(address) else socket.AF_INET


class UnixAddress(msgspec.Struct, frozen=True):
    """A Unix stream socket at `path`."""

    path: str

    def __str__(self) -> str:
        return self.path


class TcpAddress(msgspec.Struct, frozen=True):
    """A TCP socket: `host` is an IP address (IPv6 without brackets) or a name, `port` is 0 to 65535.

    Port 0 means any free port, for listeners only.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address; None: the host is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


RpcAddress = UnixAddress | TcpAddress


def parse_rpc_address(text: str) -> RpcAddress:
    """Parse an address.

    Args:
        text: a path with a `/` in it, HOST:PORT, or [IPV6]:PORT. A path that is an existing directory or
            ends with `/` means the file `socket` in that directory.

    Raises:
        ConfigError: `text` is none of these; the message has an example.
    """
    if "\0" in text:
        raise ConfigError(f"address {text!r}: contains a NUL character")
    return _parse_path(text) if "/" in text else _parse_tcp(text)


def _parse_path(text: str) -> UnixAddress:
    path = str(Path(text) / "socket") if text.endswith("/") or _is_directory(text) else text
    size_bytes = len(path.encode(errors="surrogateescape"))
    if size_bytes > MAX_PATH_BYTES:
        raise ConfigError(
            f"address {path!r}: the path has {size_bytes} bytes, more than the kernel's {MAX_PATH_BYTES};"
            " choose a shorter one"
        )
    return UnixAddress(path)


def _is_directory(text: str) -> bool:
    try:
        return stat.S_ISDIR(mode_of(Path(text)) or 0)
    except OSError:  # this user may not look there, or the name is too long; what uses the address says so
        return False


def _parse_tcp(text: str) -> TcpAddress:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ConfigError(
            f"address {text!r}: is neither a path (./name for a file) nor HOST:PORT, such as 127.0.0.1:7070"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        transport, _, rest = text.partition(":")
        if transport in _TRANSPORTS:
            raise ConfigError(f"address {text!r}: stands here without its transport; say {rest}")
        raise ConfigError(f"address {text!r}: an IPv6 address needs brackets, such as [::1]:7070")
    if not host:
        raise ConfigError(f"address {text!r}: has no host; 127.0.0.1 is this host alone")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ConfigError(f"address {text!r}: port {port!r} is not a number from 0 to 65535")
    return TcpAddress(host, int(port))
