"""Opening: the sockets for new SDPs, before anything else of a call changes.

A command of offer and answer first opens what it needs. What follows may fail as long as nothing has changed,
and then the new sockets are closed: a failed command leaves nothing behind.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources
from nh.calls.sockets.group import SocketGroup


class Opening:
    """Opens sockets; a context that fails closes them.

    Args:
        resources: sockets, limits and media plane.
        now: monotonic seconds.
    """

    __slots__ = ("_now", "_opened", "_resources")

    def __init__(self, resources: CallResources, *, now: float) -> None:
        self._resources = resources
        self._now = now
        self._opened: list[SocketGroup] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for group in self._opened:
                self._resources.close_group(group)

    def open_groups(self, party: Party, requests: Sequence[MediumRequest]) -> list[SocketGroup | None]:
        """The socket groups for a party's new SDP: present ones where they still serve, otherwise new ones.

        Raises:
            LimitReached, PortsExhausted, AddressUnavailable.
        """
        self._resources.check_sdp(
            sum([request.media.range for request in requests if request.media is not None])
        )
        groups: list[SocketGroup | None] = []
        for index, request in enumerate(requests):
            shared = None if request.shares is None else groups[request.shares]
            serving = _find_serving(party, index, request)
            if serving is not None and shared is None and _shares_with(serving, groups):
                serving = None  # it has been bundled, and is no longer
            groups.append(self._find_or_open(party, request, serving, shared))
        return groups

    def _find_or_open(
        self, party: Party, request: MediumRequest, serving: SocketGroup | None, shared: SocketGroup | None
    ) -> SocketGroup | None:
        if request.media is None or serving is not None:
            return serving
        if shared is not None and shared.medium.range == request.media.range:
            self._opened.append(shared.share_with(request.media))
            return self._opened[-1]
        group = self._resources.open_group(
            group_id=party.tag,
            side=party.side,
            address=request.address,
            media=[request.media],
            now=self._now,
            dscp=request.dscp,
            further=request.further,
        )
        self._opened.append(group)
        return group


def _find_serving(party: Party, index: int, request: MediumRequest) -> SocketGroup | None:
    """A group of the party that serves: the present one, or one from before an offer that was refused."""
    if not party.groups and not party.superseded:  # as of each new party
        return None
    present = party.find_group(index)
    if present is not None and _serves(present, request):
        return present
    for medium, group in party.superseded:
        if medium == index and _serves(group, request):
            return group
    return None


def _shares_with(group: SocketGroup, others: Sequence[SocketGroup | None]) -> bool:
    return any(each is not None and each.sockets is group.sockets for each in others)


def _serves(group: SocketGroup, request: MediumRequest) -> bool:
    """Whether the sockets may stay; like rtpengine, a peer that moved gets new ports."""
    before, after = group.medium, request.media
    if after is None or request.fresh or group.address != request.address or before.range != after.range:
        return False
    if request.latch or not after.active or not before.active:
        return True
    return (before.address, before.port) == (after.address, after.port)
