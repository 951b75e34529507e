"""A relay that is told of calls in ng's commands, and phones that send where its SDPs say."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nh.calls.events import CallObserver
from nh.calls.leg import Leg
from nh.calls.media import Block
from nh.calls.snapshots.call import CallSnapshot, Clock, restore_call, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot
from nh.calls.snapshots.timeline import TimelineSnapshot
from nh.commands import Answer, BlockMedia, Delete, Offer, OfferOptions, Query
from nh.results import Queried, Rewritten, StreamReading
from nh.shard.relay import Relay
from tests.calls.snapshots import written
from tests.shard.testbed import PACKET, REPORT, RelayTestbed, Where
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTP, MediaPeer

Sdp = bytes | Sequence[MediaLine] | MediaPeer
"""An SDP as it is, the media of one, or the phone with one audio medium that it describes."""

CALL = b"ng-call"


def line(peer: MediaPeer, *attributes: str, kind: str = "audio", proto: str = "RTP/AVP") -> MediaLine:
    """A medium of a phone."""
    return MediaLine(peer.address, peer.port, kind, proto, attributes=attributes)


class Savings(CallObserver):
    """What is known when a relay's call is to be saved.

    Args:
        known: what a leg shows that is saved, and what its peers have by then.

    Attributes:
        each: what that was, the first first.
    """

    def __init__(self, known: Callable[[Leg], object]) -> None:
        self._known = known
        self.each: list[object] = []

    def source_changed(self, _call_id: bytes, leg: Leg) -> None:
        """See CallObserver."""
        self.each.append(self._known(leg))


def snapshots_of(relay: Relay) -> list[CallSnapshot]:
    """All that a relay knows of its calls, but the time, and the timelines: these have refusals, too."""
    snapshots = [take_snapshot(call, clock=Clock(1.0, 1.0)) for call in relay.table]
    return [msgspec.structs.replace(each, next_expiry=0.0, timeline=TimelineSnapshot()) for each in snapshots]


class NgTestbed(RelayTestbed):
    """A relay under test. Ends are called by their tags, alice and bob if nothing else is said."""

    def offer(
        self,
        sdp: Sdp,
        *,
        tag: bytes = b"alice",
        to: bytes = b"",
        branch: bytes = b"",
        call_id: bytes = CALL,
        **options: Any,
    ) -> bytes:
        """The SDP that the one gets to whom `tag` offers."""
        parsed = OfferOptions(**options)
        result = self.relay.execute(Offer(call_id, tag, to, branch, _body(sdp), parsed))
        assert isinstance(result, Rewritten)
        return result.sdp

    def answer(
        self,
        sdp: Sdp,
        *,
        tag: bytes = b"bob",
        to: bytes = b"alice",
        branch: bytes = b"",
        call_id: bytes = CALL,
        **options: Any,
    ) -> bytes:
        """The SDP that `to` gets, whose offer `tag` answers."""
        parsed = OfferOptions(**options)
        result = self.relay.execute(Answer(call_id, to, tag, branch, _body(sdp), parsed))
        assert isinstance(result, Rewritten)
        return result.sdp

    def connect(self, alice: Sdp, bob: Sdp, **options: Any) -> "NgTalk":
        """An offer of Alice's and Bob's answer."""
        to_bob = self.offer(alice, **options)
        to_alice = self.answer(bob, **options)
        return NgTalk(to_alice, to_bob)

    def delete(self, tag: bytes = b"", **fields: Any) -> Queried:
        """End the call; what was known of it."""
        result = self.relay.execute(Delete(CALL, tag, **fields))
        assert isinstance(result, Queried)
        return result

    def restore(self, change: Callable[[CallSnapshot], CallSnapshot] | None = None) -> None:
        """End the call, and go on with it from its snapshot, as another process does.

        Args:
            change: what is different in the snapshot.
        """
        table, now = self.relay.table, time.monotonic()
        snapshot = decode_snapshot(written(table, CALL, now=now))
        self.delete()
        restore_call(table, change(snapshot) if change else snapshot, shift_s=0.0, now=now)

    def query(self, tag: bytes = b"") -> Queried:
        """What is known of the call."""
        result = self.relay.execute(Query(CALL, tag))
        assert isinstance(result, Queried)
        return result

    def block(self, tag: bytes = b"", what: Block = Block.MEDIA, *, blocked: bool = True) -> None:
        """Block what `tag` sends, or no longer."""
        self.relay.execute(BlockMedia(CALL, tag, blocked, what))

    def talk(
        self,
        alice: MediaPeer,
        bob: MediaPeer,
        talk: "NgTalk",
        components: Sequence[int] = (0, 1),
        medium: int = 0,
    ) -> None:
        """Packets go both ways, each from the port that its receiver sends to."""
        to_alice, to_bob = talk.alice_sends_to[medium], talk.bob_sends_to[medium]
        for component in components:
            payload = rtcp() if component else PACKET
            source = self.passes(alice, to_alice, bob, component, payload)
            assert source == (to_bob[0], to_bob[1] + component)
            source = self.passes(bob, to_bob, alice, component, payload)
            assert source == (to_alice[0], to_alice[1] + component)

    def snapshots(self) -> list[CallSnapshot]:
        """See snapshots_of."""
        return snapshots_of(self.relay)

    def dropped(self) -> int:
        """Packets that were not passed on."""
        stats = self.stats()
        return (
            stats.drop_source_mismatch + stats.drop_no_target + stats.drop_no_session + stats.drop_send_failed
        )


class NgTalk:
    """Where the ends of a call are told to send.

    Args:
        to_alice, to_bob: the SDPs that they got.
    """

    def __init__(self, to_alice: bytes, to_bob: bytes) -> None:
        self.alice_sends_to = places(to_alice)
        self.bob_sends_to = places(to_bob)


def places(sdp: bytes) -> list[Where]:
    """Where an SDP says that each medium is received."""
    return [medium.target for medium in read_sdp(sdp.decode())]


def rtcp() -> bytes:
    """A packet of RTCP, which its second byte tells from RTP (RFC 5761 4)."""
    return REPORT


def streams(queried: Queried, tag: bytes, component: int = RTP + 1) -> list[StreamReading]:
    """What a reading says of the streams that one end sends."""
    return [
        stream
        for end in queried.tags
        if end.tag == tag
        for medium in end.media
        for stream in medium.streams
        if stream.component == component
    ]


def _body(sdp: Sdp) -> bytes:
    if isinstance(sdp, bytes):
        return sdp
    media = [line(sdp)] if isinstance(sdp, MediaPeer) else sdp
    return write_sdp(media).encode()
