"""Addresses that other hosts reach: what it means to serve one, and that the settings must allow it."""

import ipaddress
from typing import Final, NamedTuple

from nh.address import TcpAddress
from nh.errors import ConfigError


class Exposure(NamedTuple):
    """What it means to serve an address that other hosts reach.

    Attributes:
        risk: what every client that can connect can do.
        flag: what allows it all the same.
    """

    risk: str
    flag: str


RPC_EXPOSURE: Final = Exposure("can close every call", "--rpc-public (rpc_public)")
HTTP_EXPOSURE: Final = Exposure("can see every call", "--http-public (http_public)")
NG_OVER_HTTP_EXPOSURE: Final = Exposure(
    "can close every call, because http_ng is set", "--http-public and --rpc-public (http_public, rpc_public)"
)


def check_loopback(setting: str, address: TcpAddress, ip: str, exposure: Exposure) -> None:
    """Refuse to serve an address that other hosts reach.

    Args:
        setting: the setting with the address, for the message.
        address: as it was set.
        ip: the IP address of its host.
        exposure: what follows if other hosts reach it.

    Raises:
        ConfigError: `ip` is not loopback.
    """
    if not ipaddress.ip_address(ip).is_loopback:
        raise ConfigError(
            f"{setting}: {address}: {ip} is not loopback, and every client that can connect {exposure.risk};"
            f" if a firewall limits the clients, allow the address with {exposure.flag}"
        )
