"""Named interfaces: where a relay that chooses its own address listens, and what it announces there.

ng's clients do not say on which address they want media, as Net::SIP's do; they name interfaces, or none.
"""

import msgspec


class Interface(msgspec.Struct, frozen=True):
    """One address of the relay.

    Arguments:
        name: what `direction` calls it.
        address: canonical IP address to bind.
        advertised: canonical IP address to write into SDPs; that of a NAT before this host, else `address`.
        ports: (lowest, highest) media port there, the lowest even and the highest odd; None: the relay's.
    """

    name: str
    address: str
    advertised: str
    ports: tuple[int, int] | None = None

    @property
    def family(self) -> int:
        """4 or 6, of what is advertised."""
        return 6 if ":" in self.advertised else 4
