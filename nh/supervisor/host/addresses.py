"""Addresses of this host: those of the settings that it does not have are logged at the start."""

import logging
import socket
from collections.abc import Iterable

from nh.calls.interfaces import Interface

logger = logging.getLogger(__name__)


def warn_of_missing_addresses(interfaces: Iterable[Interface]) -> None:
    """Log each address for media that cannot be bound now.

    It is no error: an address may come later, such as the virtual one of keepalived.

    Args:
        interfaces: the interfaces of ng calls.
    """
    for address in dict.fromkeys(interface.address for interface in interfaces):
        if not _can_bind(address):
            logger.warning(
                "address %s is not on this host: ng calls that need it are refused until it is", address
            )


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
