"""A proxy that speaks ng, with the relay's domain in its hands: offers and answers without SDP or sockets."""

import dataclasses
from collections.abc import Sequence

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Block, Media
from nh.calls.offer_answer.matching import find_answered
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.offers import Offers
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.ports import PortSpace
from nh.calls.table import CallTable
from tests.calls.fakes import CALL, PORTS, RELAY, START, EventRecorder, Expired, FakePlane, has_nothing_left

A, B, C, D = b"tag-a", b"tag-b", b"tag-c", b"tag-d"

A_AUDIO = Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio")
A_VIDEO = Media("198.51.100.1", 4002, 2, "RTP/AVP", "video")
A_FAX = Media("198.51.100.1", 4000, 1, "udptl", "image")
A_MOVED = Media("198.51.100.77", 4000, 2, "RTP/AVP", "audio")
A_HELD = Media("0.0.0.0", 4000, 2, "RTP/AVP", "audio")
A_PAUSED = Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio", paused=True)
B_AUDIO = Media("203.0.113.9", 6000, 2, "RTP/AVP", "audio")
B_VIDEO = Media("203.0.113.9", 6002, 2, "RTP/AVP", "video")
B_FAX = Media("203.0.113.9", 6000, 1, "udptl", "image")
B_MOVED = Media("203.0.113.9", 6500, 2, "RTP/AVP", "audio")
C_AUDIO = Media("203.0.113.77", 7000, 2, "RTP/AVP", "audio")

Ports = list[int | None]
"""The relay's first port of each medium; None where it is not relayed."""


@dataclasses.dataclass
class NgProxy:
    """A proxy; `now` is the time, tests move it."""

    table: CallTable
    plane: FakePlane
    now: float = START

    def __post_init__(self) -> None:
        self.events = EventRecorder(self.table)

    def offer(
        self,
        *media: Media | None,
        tag: bytes = A,
        to: bytes = b"",
        branch: bytes = b"",
        call_id: bytes = CALL,
        policy: SourcePolicy | None = None,
        latch: bool = False,
        dscp: int | None = None,
        address: str = RELAY,
        expecting: bool = False,
        further: tuple[str, ...] = (),
    ) -> Ports:
        """The SDP of a request; where the other end is to send to.

        With `expecting`, sockets for an answer with the same media are opened, too. `further` are the
        addresses of further candidates.
        """
        offerer = self.table.offer(
            call_id=call_id,
            from_tag=tag,
            to_tag=to,
            branch=branch,
            requests=[each._replace(further=further) for each in _requests(media, address, latch, dscp)],
            expected=_requests([medium and _unknown(medium) for medium in media], address, latch, dscp)
            if expecting
            else (),
            policy=policy,
            now=self.now,
        )
        return _ports(offerer.groups)

    def answer(
        self,
        *media: Media | None,
        tag: bytes = B,
        to: bytes = A,
        branch: bytes = b"",
        call_id: bytes = CALL,
        policy: SourcePolicy | None = None,
        latch: bool = False,
        dscp: int | None = None,
        address: str = RELAY,
    ) -> Ports:
        """The SDP of a response of `tag` to `to`, who offered; where `to` is to send to."""
        offers = self.table.get_call(call_id).get_offers(now=self.now)
        dialog = offers.answer(
            find_answered(offers.participants, to, tag, branch),
            to_tag=tag,
            branch=branch,
            requests=_requests(media, address, latch, dscp),
            policy=policy,
            now=self.now,
        )
        return _ports(dialog.party_with(tag).groups)

    def connect(self, call_id: bytes = CALL) -> Session:
        """A call with audio; its session."""
        self.offer(A_AUDIO, call_id=call_id)
        self.answer(B_AUDIO, call_id=call_id)
        return self.plane.running[-1]

    def outwait_forks(self) -> None:
        """Let time pass until no further end may answer the offers so far."""
        self.now += self.table.resources.settings.unused_s

    def delete(
        self,
        tag: bytes = b"",
        *,
        to: bytes = b"",
        branch: bytes = b"",
        delay_s: float = 0,
        call_id: bytes = CALL,
    ) -> None:
        """Take out of the call what `tag` has with `to`, or on a branch."""
        self.table.delete(
            call_id=call_id, from_tag=tag, to_tag=to, branch=branch, delay_s=delay_s, now=self.now
        )

    def block(self, tag: bytes = b"", what: Block = Block.MEDIA, *, blocked: bool = True) -> None:
        """Block what `tag` sends, or no longer."""
        self.offers.block(tag, what, blocked=blocked)

    def expire(self, *, after_s: float = 0.0) -> Expired:
        """What ends `after_s` seconds later."""
        self.now += after_s
        return self.events.expire(self.table, now=self.now)

    @property
    def offers(self) -> Offers:
        """The parties and dialogs of the call."""
        return self.table.get_call(CALL).get_offers(now=self.now)

    @property
    def tags(self) -> set[bytes]:
        """The tags of the parties in the call; none if it has ended."""
        call = self.table.find_call(CALL)
        return set() if call is None or call.offers is None else {party.tag for party in call.offers.parties}

    @property
    def talking(self) -> set[frozenset[bytes]]:
        """Between whom media are relayed."""
        return {frozenset((each.group_from.id, each.group_to.id)) for each in self.plane.running}

    @property
    def nothing_is_left(self) -> bool:
        """Whether the relay is as it was in the beginning."""
        return has_nothing_left(self.table, self.plane)


def make_ng_proxy(
    settings: RelaySettings | None = None, ports: tuple[int, int] = PORTS, plane: FakePlane | None = None
) -> NgProxy:
    """A proxy with a relay of its own, in which replaced sessions end at once if `settings` say nothing."""
    plane = plane or FakePlane()
    resources = SharedResources(
        plane=plane, ports=PortSpace(*ports), settings=settings or RelaySettings(replaced_s=0)
    )
    return NgProxy(CallTable(resources), plane)


def _unknown(medium: Media) -> Media:
    """What is known of an answer's medium before there is one."""
    return Media("0.0.0.0", 0, medium.range, medium.proto, medium.kind)


def _ports(groups: Sequence[SocketGroup | None]) -> Ports:
    return [None if group is None else group.sockets[0].local.port for group in groups]


def _requests(
    media: Sequence[Media | None], address: str, latch: bool, dscp: int | None
) -> list[MediumRequest]:
    return [MediumRequest(medium, address, latch, dscp) for medium in media]
