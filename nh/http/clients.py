"""Which connections are of one client."""

import functools
import ipaddress


def network_of(client: tuple[str, int] | None) -> str:
    """Who is taken for one client: an IP address; of IPv6 its /64, all of which one host has.

    Args:
        client: address and port; None: the connection has ended already.
    """
    return _network(client[0]) if client else ""


@functools.lru_cache(maxsize=1024)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
