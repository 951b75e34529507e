"""Named interfaces: the addresses of a relay that chooses its own address, and what it announces for each.

A Net::SIP client names the address for its media. An ng client names an interface, or none.
"""

from collections.abc import Sequence

import msgspec

from nh.ip_address import ip_version


class Interface(msgspec.Struct, frozen=True):
    """One address of the relay.

    Args:
        name: its name in the ng flag `direction`.
        address: canonical IP address to bind.
        advertised: canonical IP address to write into SDPs: that of a NAT before this host, otherwise
            `address`.
        ports: (lowest, highest) media port, the lowest even and the highest odd; None: those of the relay.
    """

    name: str
    address: str
    advertised: str
    ports: tuple[int, int] | None = None

    @property
    def family(self) -> int:
        """IP version of the advertised address: 4 or 6."""
        return ip_version(self.advertised)


def first(name: str, interfaces: Sequence[Interface]) -> Sequence[Interface]:
    """The interfaces with the one that has a name before the others, where calls are that name none."""
    return sorted(interfaces, key=lambda each: each.name != name)
