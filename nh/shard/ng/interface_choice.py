"""Interface choice: the interfaces on which the relay receives from the two parties of an ng call.

A client names the interfaces with an offer, or the address family decides. A party stays on its interface
until another offer names another one; each branch of a fork has its own. The module knows neither the text
of SDP nor sockets.
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.errors import Unsupported
from nh.logs.lines import about
from nh.logs.throttle import OnceLogger
from nh.printable import short_id

logger = logging.getLogger(__name__)

MAX_LOGGED: Final = 16
"""Most warnings that are logged, each once."""


class InterfacePair(NamedTuple):
    """The interfaces of an offer.

    Attributes:
        near: where the relay receives from the sender of the offer.
        far: where it receives from the other party.
        near_further, far_further: beside these, where ICE offers further candidates.
        family: of the sender, see Party.family; 0: it is not known.
        warning: for the client, "" if there is none.
    """

    near: Interface
    far: Interface
    near_further: tuple[Interface, ...]
    far_further: tuple[Interface, ...]
    family: int
    warning: str

    def note(self, sender: Party, receiver: Party | None) -> None:
        """Note where the parties of the offer are; `receiver` is None if it is not known yet."""
        sender.interface, sender.peer_interface = self.near, self.far
        if receiver is not None:
            receiver.interface = self.far


def note_answerer(answerer: Party, offerer: Party, near: Interface) -> None:
    """Note where the relay meets the end that is answered, and the one that answers unless that is known.

    Args:
        answerer: the party.
        offerer: whose offer it answers.
        near: where the relay receives from the offerer.
    """
    offerer.interface = answerer.peer_interface = near
    if answerer.interface is None:
        answerer.interface = offerer.peer_interface


class InterfaceChoice:
    """The interfaces of one relay.

    Args:
        interfaces: the first of each address family is its default; without any, ng calls are refused.
    """

    def __init__(self, interfaces: Sequence[Interface]) -> None:
        self._interfaces = tuple(interfaces)
        self._others = {each: self._find_beside(each) for each in self._interfaces}
        self._of_name = {
            (name, family): _find_named(self._interfaces, name, family)
            for name in dict.fromkeys([each.name for each in self._interfaces])
            for family in (4, 6)
        }
        self._warnings = OnceLogger(logger, MAX_LOGGED)

    def for_offer(
        self,
        options: OfferOptions,
        family: int,
        sender: Party | None,
        receiver: Party | None,
        *,
        said: int = 0,
        told: int = 0,
        known: int = 0,
        call_id: bytes = b"",
    ) -> InterfacePair:
        """The interfaces of an offer. An unknown name means the default, as in rtpengine, and a warning.

        What the options name counts for each offer. A party of which they name nothing stays where it is, or
        follows its end to another address family, as in rtpengine.

        Args:
            options: the options of the command.
            family: address family, 4 or 6, in which a sender is met that neither tells one nor has one.
            sender: the party that offers, None if it is new.
            receiver: the same of the other party.
            said: see said_family(); a sender that stays on its interface follows it.
            told: see told_family(); in it a sender is met that is new or gets an interface of another name.
            known: see known_family().
            call_id: of the call, for log lines.

        Raises:
            Unsupported: there is no interface, or none of the family that the options ask for.
        """
        near_name, far_name = (*options.direction, "", "")[:2]
        unknown: list[str] = []
        near = self._choose(near_name, sender.interface if sender else None, 0)
        if near is None:
            now = told or known
            family = now or family
            near = self._named(near_name, family, unknown) if near_name else self.default(family)
        else:
            now = said or known or told
            if said not in (0, near.family, known):
                near = self._in_family(near, said, named=bool(near_name))
        before = receiver.interface if receiver else sender.peer_interface if sender else None
        far = self._choose(far_name, before, options.family)
        if far is None:
            wanted = options.family or (before or near).family
            if far_name or before is not None or not near_name:
                far = self._named(far_name or (before or near).name, wanted, unknown)
            else:  # the client names that of the sender alone
                far = self.default(wanted)
            if options.family and far.family != options.family:
                far = self.default(options.family, required=True)
        warning = self._warning(unknown, call_id)
        return InterfacePair(near, far, self.beside(near), self.beside(far), now, warning)

    def for_answer(self, options: OfferOptions, offerer: Party) -> Interface:
        """Where the relay receives from the end that gets an answer.

        Args:
            options: of the command, of which the address family counts, if there is an interface of it.
            offerer: the end.

        Raises:
            Unsupported: there is no interface.
        """
        near = offerer.interface or self.default(options.family or 4)
        if options.family in (0, near.family):
            return near
        return self._in_family(near, options.family, named=False)

    def beside(self, interface: Interface) -> tuple[Interface, ...]:
        """The other addresses of the interface's name, in the order of the settings."""
        known = self._others.get(interface)
        return self._find_beside(interface) if known is None else known  # of the settings before

    def _find_beside(self, interface: Interface) -> tuple[Interface, ...]:
        found: dict[str, Interface] = {}
        for each in self._interfaces:
            if each.name == interface.name and each.address != interface.address:
                found.setdefault(each.address, each)
        return tuple(found.values())

    def _choose(self, name: str, present: Interface | None, family: int) -> Interface | None:
        """The present interface of a party if it has the name and family that are wanted, otherwise None."""
        if present is None or name not in ("", present.name) or family not in (0, present.family):
            return None
        return present

    def _in_family(self, present: Interface, family: int, *, named: bool) -> Interface:
        """The interface in the place of one whose end has moved to another address family.

        Args:
            present: the one before, which stays if there is no other.
            family: 4 or 6.
            named: the client names it: only an address of that name can take its place.
        """
        found = [each for each in self._interfaces if each.family == family]
        same_name = [each for each in found if each.name == present.name]
        candidates = same_name if named else [*same_name, *found]
        return candidates[0] if candidates else present

    def default(self, family: int, *, required: bool = False) -> Interface:
        """The first interface of an address family.

        Args:
            family: 4 or 6.
            required: False: without an interface of that family, the first of all.

        Raises:
            Unsupported: there is none.
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
        """The interface of a name, of `family` if there are several; the default for an unknown name.

        Args:
            unknown: unknown names are added to it.
        """
        found = self._of_name.get((name, family))
        if found is not None:
            return found
        unknown.append(name)
        return self.default(family)

    def _warning(self, unknown: Sequence[str], call_id: bytes) -> str:
        if not unknown:
            return ""
        wrong = ", ".join(repr(name[:64]) for name in dict.fromkeys(unknown))
        names = ", ".join(dict.fromkeys(interface.name for interface in self._interfaces))
        warning = f"direction: no interface is named {wrong}, the default is taken; nh has only: {names}"
        # SIP proxies show warnings nowhere
        self._warnings.warn(warning, "call '%s': %s", short_id(call_id), warning, extra=about(call_id))
        return warning


def _find_named(interfaces: Sequence[Interface], name: str, family: int) -> Interface:
    """The first interface of a name that there is, of `family` if there are several."""
    found = [each for each in interfaces if each.name == name]
    return next((each for each in found if each.family == family), found[0])
