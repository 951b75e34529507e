"""Interface choice: on which of its interfaces the relay meets the two ends of an ng call.

A client names them with the first offer, or leaves it to the addresses' family; later SDPs keep to what
was chosen. Knows nothing of SDP's text or of sockets.
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.errors import Unsupported

logger = logging.getLogger(__name__)

MAX_TOLD: Final = 16
"""Most warnings that are logged, each once."""


class Chosen(NamedTuple):
    """Where the relay meets the sender of an offer, and whom it goes to; `warning` is for the client."""

    near: Interface
    far: Interface
    warning: str


class InterfaceChoice:
    """The interfaces of one relay.

    Arguments:
        interfaces: the first of a family is its default; without any, there are no ng calls.
    """

    def __init__(self, interfaces: Sequence[Interface]) -> None:
        self._interfaces = tuple(interfaces)
        self._told: set[str] = set()

    def for_offer(
        self, options: OfferOptions, family: int, sender: Party | None, receiver: Party | None
    ) -> Chosen:
        """Both sides of an offer.

        Arguments:
            family: 4 or 6, of the SDP.
            sender, receiver: the two ends if they are known: they stay where they are.

        A name that there is none of means the default, as with rtpengine, and a warning.
        Raises Unsupported if there is no interface, or none of the family that is asked for.
        """
        names = options.direction
        unknown: list[str] = []
        near = sender.interface if sender is not None else None
        far = receiver.interface if receiver is not None else None
        if near is None:
            near = self._named(names[0], family, unknown) if names else self.default(family)
        if far is None and sender is not None:
            far = sender.peer_interface
        if far is None:
            wanted = options.family or near.family
            far = self._named(names[1] if len(names) > 1 else near.name, wanted, unknown)
            if options.family and far.family != options.family:
                far = self.default(options.family, required=True)
        return Chosen(near, far, self._warning(unknown))

    def default(self, family: int, *, required: bool = False) -> Interface:
        """The first interface of a family (4 or 6), or unless that is required the first of all.

        Raises Unsupported if there is none.
        """
        if not self._interfaces:
            raise Unsupported(
                "nh was started without --address or --interface, so it has none for ng's calls"
            )
        for interface in self._interfaces:
            if interface.family == family:
                return interface
        if required:
            raise Unsupported(f"address family: nh has no interface with an IPv{family} address")
        return self._interfaces[0]

    def _named(self, name: str, family: int, unknown: list[str]) -> Interface:
        """The interface of that name, the one of that family if it has both, else the default.

        Arguments:
            unknown: where names go that there is none of.
        """
        found = [interface for interface in self._interfaces if interface.name == name]
        for interface in sorted(found, key=lambda each: each.family != family):
            return interface
        unknown.append(name)
        return self.default(family)

    def _warning(self, unknown: Sequence[str]) -> str:
        if not unknown:
            return ""
        wrong = ", ".join(repr(name[:64]) for name in dict.fromkeys(unknown))
        names = ", ".join(dict.fromkeys(interface.name for interface in self._interfaces))
        warning = f"direction: no interface is named {wrong}, the default is taken; nh has {names}"
        # SIP proxies do not show warnings to anybody; once is enough, and names may be made up without end
        if warning not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(warning)
            logger.warning("%s", warning)
        return warning
