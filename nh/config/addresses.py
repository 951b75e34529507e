"""Addresses, URLs and names among the settings: each is read or checked, and its error names the setting."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from nh.address import RpcAddress, TcpAddress, UnixAddress, parse_rpc_address
from nh.errors import ConfigError

STORE_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

_DEVICE_NAME: Final = re.compile(r"[^\s/:,]{1,15}")
"""What the kernel takes (dev_valid_name()), but for a comma: that is between two names."""

URL_PASSWORD: Final = re.compile(r"(//[^/@:]*:)[^/]*@")
"""The password of a URL, and what is before it."""

_MISTYPED_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?::(?!//)|//)")
"""How a URL begins whose :// lacks a character."""


def read_address(setting: str, text: str) -> RpcAddress:
    """Read a path or HOST:PORT; see parse_rpc_address().

    Raises:
        ValueError: it is neither; the message begins with the setting.
    """
    try:
        return parse_rpc_address(text)
    except ConfigError as exc:
        raise ValueError(f"{setting}: {exc}") from exc


def tcp_addresses(setting: str, texts: tuple[str, ...], example: str) -> tuple[TcpAddress, ...]:
    """Read addresses of a setting that takes HOST:PORT alone.

    Args:
        setting: its name.
        texts: its values.
        example: one that it takes, for the message.

    Raises:
        ValueError: a value is no HOST:PORT.
    """
    for text in texts:
        if "/" not in text and ":" not in text:
            raise ValueError(f"{setting}: {text!r} is not HOST:PORT, such as {example}")
    addresses = [read_address(setting, text) for text in texts]
    found = tuple(address for address in addresses if isinstance(address, TcpAddress))
    if len(found) < len(addresses):
        raise ValueError(f"{setting}: {', '.join(texts)}: a path; say HOST:PORT, such as {example}")
    return found


def check_distinct(served: Mapping[str, Sequence[RpcAddress]]) -> None:
    """Check that no two listening sockets exclude each other; port 0 is any free one.

    Args:
        served: the addresses by setting.

    Raises:
        ValueError: an address is there twice, or beside all addresses of its port.
    """
    owners: dict[RpcAddress, str] = {}
    for setting, addresses in served.items():
        for address in addresses:
            if isinstance(address, TcpAddress) and address.port == 0:
                continue
            other = owners.get(address)
            if other == setting:
                raise ValueError(f"{setting}: {address} is named twice; leave one of them out")
            if other is not None:
                raise ValueError(f"{setting}: {address} is an address of {other}, too; choose another one")
            for before, its_setting in owners.items():
                if one_has_all(address, before):
                    raise ValueError(
                        f"{setting}: {address} and {before} of {its_setting} exclude each other, because"
                        " one of them is all addresses of the host; choose another port"
                    )
            owners[address] = setting


def one_has_all(address: RpcAddress, other: RpcAddress) -> bool:
    """Whether one is all addresses of the other's port; IPv6 sockets are without IPv4 addresses (V6ONLY)."""
    if not isinstance(address, TcpAddress) or not isinstance(other, TcpAddress) or address.port != other.port:
        return False
    ip, other_ip = address.ip, other.ip
    if ip is None or other_ip is None or ip.version != other_ip.version:
        return False
    return ip.is_unspecified or other_ip.is_unspecified


def check_url(setting: str, url: str, *, given: str = "") -> None:
    """Check that nh can POST to a URL.

    Args:
        setting: its name.
        url: where nh would POST to.
        given: the value of the setting, for the message; "": that is the URL.

    Raises:
        ValueError: it cannot; the message has no password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ValueError(f"{setting}: the URL cannot be read: {exc}") from exc
    if parts.username is not None:
        raise ValueError(f"{setting}: a user in a URL would be in every log line; name a URL without one")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or " " in url:
        raise ValueError(f"{setting}: {given or url!r} is not a URL such as http://127.0.0.1:8080/timeouts")


def check_store_url(setting: str, url: str) -> None:
    """Check that a store is named by a path or a URL, and that it is plain which part is the password.

    Raises:
        ValueError: it is not; the message has no part of the URL behind its scheme.
    """
    if mistyped := _MISTYPED_URL.match(url):
        scheme = mistyped[1][:80]
        raise ValueError(
            f"{setting}: the URL has no ://; say {scheme}://HOST, or ./{scheme}:… for a directory"
        )
    _, _, location = url.partition("://")
    if "@" in location.partition("/")[2]:
        raise ValueError(f"{setting}: a URL has @ and / of a password as %40 and %2F")


def check_store_prefix(setting: str, text: str) -> None:
    """Check the prefix of a store on a server.

    Raises:
        ValueError: it is none.
    """
    if not STORE_PREFIX.fullmatch(text):
        raise ValueError(
            f"{setting}: prefix {text[:80]!r} is not 1 to 64 letters, digits and any of . _ : - in ASCII"
        )


def has_password(url: str) -> bool:
    """Whether a URL has a password in it."""
    return URL_PASSWORD.search(url) is not None


def check_notify_socket(setting: str, text: str) -> None:
    """Check a notify socket of rtpproxy's protocol.

    Raises:
        ValueError: `text` is neither unix:PATH nor tcp:HOST:PORT.
    """
    kind, _, where = text.partition(":")
    if kind not in ("unix", "tcp") or isinstance(read_address(setting, where), UnixAddress) != (
        kind == "unix"
    ):
        raise ValueError(f"{setting}: {text!r} is neither unix:PATH nor tcp:HOST:PORT")


def check_device_name(setting: str, text: str) -> None:
    """Check the name of a network interface of the host.

    Raises:
        ValueError: `text` is none.
    """
    if not _DEVICE_NAME.fullmatch(text):
        raise ValueError(f"{setting}: {text[:80]!r} is no name of an interface; name each by itself")


def check_records_target(setting: str, text: str) -> None:
    """Check where records of calls go.

    Raises:
        ValueError: `text` is neither a path with a / nor unix:PATH, syslog or journal.
    """
    if text in ("syslog", "journal"):
        return
    path = text.removeprefix("unix:")
    if "/" not in path or path.endswith("/") or "\0" in path:
        raise ValueError(
            f"{setting}: {text!r} is neither a file such as /var/log/nh/calls.json nor unix:PATH, syslog or"
            " journal"
        )


class HepAddress(NamedTuple):
    """A capture server: its address, and whether it is reached over TCP, else UDP."""

    address: TcpAddress
    tcp: bool


def read_hep(setting: str, text: str) -> HepAddress:
    """The address of a capture server.

    Raises:
        ValueError: `text` is neither HOST:PORT nor udp:HOST:PORT or tcp:HOST:PORT.
    """
    tcp = text.startswith("tcp:")
    try:
        address = read_address(setting, text.removeprefix("tcp:").removeprefix("udp:"))
    except ValueError:
        address = None
    if not isinstance(address, TcpAddress) or not address.port:
        raise ValueError(f"{setting}: {text!r} is not HOST:PORT, udp:HOST:PORT or tcp:HOST:PORT")
    return HepAddress(address, tcp)


def is_ip(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
