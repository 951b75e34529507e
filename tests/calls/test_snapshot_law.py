"""The law of snapshots: a restored call behaves exactly as the original would.

Two relays get the same commands, packets and time. One of them is replaced again and again by a new one that
restores its calls from their bytes. Everything that can be observed of the two stays equal.
"""

from collections.abc import Callable, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nh.calls.call import Call
from nh.calls.drop import Drop
from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Block, Endpoint, Media, Side
from nh.calls.offer_answer.agreement import Agreement
from nh.calls.offer_answer.matching import find_answered
from nh.calls.offer_answer.offered import MediumRequest, Mux
from nh.calls.offer_answer.offers import Offers
from nh.calls.rtp.payload_types import PayloadFormat
from nh.calls.session import Session
from nh.calls.session_info import session_info
from nh.calls.settings import RelaySettings
from nh.calls.snapshots.call import CallSnapshot, Clock, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.ports import PortPool
from nh.errors import Refused
from tests.calls.fakes import RELAY, START, Expired, Proxy, make_proxy
from tests.calls.rtp import rtp_packet
from tests.calls.snapshots import move_calls
from tests.profiles import examples

CALL_IDS = st.sampled_from([b"one", b"two\0\xff"])
TAGS = st.sampled_from([b"alice", b"bob", b"carol\xfe\0"])
MAYBE_TAGS = st.just(b"") | TAGS
BRANCHES = st.sampled_from([b"", b"", b"x", b"y"])
POLICIES = st.sampled_from([None, *SourcePolicy])
FORMATS = st.sampled_from([(), (PayloadFormat(96, "opus", 48_000),), (PayloadFormat(96, "AMR", 8_000),)])
MEDIUM = st.builds(
    Media,
    st.sampled_from(["198.51.100.1", "198.51.100.2", "0.0.0.0", "pbx.example.org"]),
    st.sampled_from([4000, 4000, 4002, 0]),
    st.sampled_from([1, 2, 2, 2, 4]),
    st.sampled_from(["RTP/AVP", "udptl"]),
    paused=st.booleans(),
    rtcp=st.sampled_from([None, None, Endpoint("198.51.100.3", 4999)]),
    signalled_from=st.sampled_from(["", "203.0.113.5"]),
    formats=FORMATS,
)
MEDIA = st.lists(MEDIUM, max_size=2).map(tuple)
MAYBE_MEDIA = st.lists(st.none() | MEDIUM, max_size=3)
SOURCES = st.sampled_from(
    [
        *(Endpoint(f"198.51.100.{n}", port) for n in (1, 2) for port in (4000, 4001)),
        Endpoint("203.0.113.5", 9999),
        Endpoint("fe80::1%eth0", 4000),
    ]
)
ENDS = st.sampled_from([(b"alice", b"bob"), (b"alice", b"carol\xfe\0"), (b"bob", b"alice")])
AUDIO = Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio")
HELD = Media("0.0.0.0", 4000, 2, "RTP/AVP", "audio")
ELSEWHERE = Media("198.51.100.2", 4000, 2, "RTP/AVP", "audio", formats=(PayloadFormat(96, "opus", 48_000),))
RULES = RelaySettings(max_sockets=48, relatch_s=5.0)
BOUNDS = (20_000, 20_063)
FURTHER = "192.0.2.2"


def outcome(run: Callable[[], object]) -> object:
    """What a command answers; for a refusal, which one."""
    try:
        return run()
    except Refused as exc:
        return type(exc)


def snapshot_of(call: Call, now: float) -> CallSnapshot:
    return decode_snapshot(encode_snapshot(take_snapshot(call, clock=Clock(now, now))))


def announced_ports(groups: Sequence[SocketGroup | None]) -> list[object]:
    return [None if group is None else (group.relay_media, group.sockets[0].local) for group in groups]


def by_call(expired: Expired) -> Expired:
    """The same with the sessions of each call together: in which order calls are looked at is no promise."""
    return expired._replace(sessions=sorted(expired.sessions, key=lambda ended: ended.call_id))


class TwinsMachine(RuleBasedStateMachine):
    """`stays` is the relay that goes on, `moves` the one that is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.stays = make_proxy(RULES, BOUNDS)
        self.moves = make_proxy(RULES, BOUNDS)
        self.now = START

    @property
    def both(self) -> tuple[Proxy, Proxy]:
        return self.stays, self.moves

    def same(self, do: Callable[[Proxy], object]) -> None:
        """Do it to both; they have to answer the same."""
        first, second = (outcome(lambda proxy=proxy: do(proxy)) for proxy in self.both)  # type: ignore[misc]
        assert first == second

    @rule()
    def move(self) -> None:
        before, after = self.moves.table, make_proxy(RULES, BOUNDS)
        move_calls(before, after.table, now=self.now)
        old, new = before.resources, after.table.resources
        # what is the table's, not a call's: numbers that were given, where to look for ports, earlier senders
        new.earlier._senders.update(old.earlier._senders)
        new.session_ids.advance_past(old.session_ids._next - 1)
        for address, pool in old.ports._pools.items():
            new.ports._pools.setdefault(address, PortPool(*BOUNDS))._cursor = pool._cursor
        self.moves = after

    # --- Net::SIP's commands --------------------------------------------------------------------------

    @rule(
        call_id=CALL_IDS,
        ids=st.tuples(TAGS, TAGS),
        cseq=st.integers(1, 3),
        side=st.sampled_from(Side),
        media=MEDIA,
    )
    def allocate(
        self, call_id: bytes, ids: tuple[bytes, bytes], cseq: int, side: Side, media: tuple[Media, ...]
    ) -> None:
        self.same(
            lambda proxy: proxy.table.allocate(
                call_id=call_id,
                id_from=ids[0],
                id_to=ids[1],
                cseq=cseq,
                side=side,
                address=RELAY,
                media=media,
                now=self.now,
            )
        )

    @rule(call_id=CALL_IDS, ids=st.tuples(TAGS, TAGS), cseq=st.integers(1, 3), media=MEDIA)
    def connect(self, call_id: bytes, ids: tuple[bytes, bytes], cseq: int, media: tuple[Media, ...]) -> None:
        for side in Side:
            self.allocate(call_id, ids, cseq, side, media)
        self.same(
            lambda proxy: proxy.table.activate(
                call_id=call_id,
                id_from=ids[0],
                id_to=ids[1],
                cseq=cseq,
                param={"user": "ä\0"},
                now=self.now,
            )
        )

    @rule(call_id=CALL_IDS, ids=ENDS, cseq=st.integers(1, 4), moving=st.booleans())
    def invite(self, call_id: bytes, ids: tuple[bytes, bytes], cseq: int, moving: bool) -> None:
        """A call with audio, or its re-INVITE."""
        self.connect(call_id, ids, cseq, (AUDIO,))
        if moving:
            self.move()

    @rule(call_id=CALL_IDS, ids=st.tuples(TAGS, TAGS), cseq=st.none() | st.integers(1, 3))
    def close(self, call_id: bytes, ids: tuple[bytes, bytes], cseq: int | None) -> None:
        self.same(
            lambda proxy: proxy.table.close(
                call_id=call_id, id_from=ids[0], id_to=ids[1], cseq=cseq, now=self.now
            )
        )

    @rule(call_id=CALL_IDS)
    def close_call(self, call_id: bytes) -> None:
        self.same(lambda proxy: proxy.table.close_call(call_id, now=self.now))

    # --- ng's -----------------------------------------------------------------------------------------

    @rule(
        call_id=CALL_IDS,
        tags=st.tuples(TAGS, MAYBE_TAGS),
        branch=BRANCHES,
        media=MAYBE_MEDIA,
        policy=POLICIES,
        latch=st.booleans(),
        expecting=st.booleans(),
        further=st.sampled_from([(), (FURTHER,)]),
    )
    def offer(
        self,
        *,
        call_id: bytes,
        tags: tuple[bytes, bytes],
        branch: bytes,
        media: list[Media | None],
        policy: SourcePolicy | None,
        latch: bool,
        expecting: bool,
        further: tuple[str, ...] = (),
    ) -> None:
        def do(proxy: Proxy) -> object:
            unknown = [each and Media("0.0.0.0", 0, each.range, each.proto) for each in media]
            offerer = proxy.table.offer(
                call_id=call_id,
                from_tag=tags[0],
                to_tag=tags[1],
                branch=branch,
                requests=[MediumRequest(each, RELAY, latch, 46, further=further) for each in media],
                expected=[MediumRequest(each, RELAY, further=further) for each in unknown]
                if expecting
                else (),
                policy=policy,
                now=self.now,
            )
            offers = self.offers(proxy, call_id)
            assert offers is not None
            party = offers.participants.with_tag(tags[0])[0]
            party.offered_muxes = (Mux(offered=latch, decided=expecting or None),)
            party.label = "ä"
            party.interface = Interface("out", RELAY, RELAY, BOUNDS)
            return announced_ports(offerer.groups)

        self.same(do)

    @rule(
        call_id=CALL_IDS,
        tags=st.tuples(TAGS, TAGS),
        branch=BRANCHES,
        media=MAYBE_MEDIA,
        policy=POLICIES,
        mux=st.tuples(st.booleans(), st.booleans()),
    )
    def answer(
        self,
        *,
        call_id: bytes,
        tags: tuple[bytes, bytes],
        branch: bytes,
        media: list[Media | None],
        policy: SourcePolicy | None,
        mux: tuple[bool, bool],
    ) -> None:
        def do(proxy: Proxy) -> object:
            offers = self.offers(proxy, call_id)
            if offers is None:
                return None
            dialog = offers.answer(
                find_answered(offers.participants, *tags, branch),
                to_tag=tags[1],
                branch=branch,
                requests=[MediumRequest(each, RELAY) for each in media],
                policy=policy,
                agreement=Agreement([mux] * len(media)),
                now=self.now,
            )
            return announced_ports(dialog.party_with(tags[1]).groups)

        self.same(do)

    @rule(tags=ENDS, branch=BRANCHES, mux=st.tuples(st.booleans(), st.booleans()), expecting=st.booleans())
    def agree(
        self, tags: tuple[bytes, bytes], branch: bytes, mux: tuple[bool, bool], expecting: bool
    ) -> None:
        """A call with audio, as most are: chance alone makes few."""
        self.offer(
            call_id=b"one",
            tags=(tags[0], b""),
            branch=branch,
            media=[AUDIO],
            policy=None,
            latch=False,
            expecting=expecting,
        )
        self.answer(call_id=b"one", tags=tags, branch=branch, media=[AUDIO], policy=None, mux=mux)

    @rule(tags=ENDS, media=st.sampled_from([AUDIO, HELD, ELSEWHERE]), moving=st.booleans())
    def offer_again(self, tags: tuple[bytes, bytes], media: Media, moving: bool) -> None:
        """A re-INVITE that may be answered or not: to go on, to hold, to move."""
        self.offer(
            call_id=b"one", tags=tags, branch=b"", media=[media], policy=None, latch=False, expecting=False
        )
        if moving:
            self.move()

    @rule(tags=st.tuples(MAYBE_TAGS, MAYBE_TAGS), branch=BRANCHES, delay_s=st.sampled_from([0, 5, 30]))
    def delete(self, tags: tuple[bytes, bytes], branch: bytes, delay_s: float) -> None:
        self.same(
            lambda proxy: proxy.table.delete(
                call_id=b"one", from_tag=tags[0], to_tag=tags[1], branch=branch, delay_s=delay_s, now=self.now
            )
        )

    @rule(call_id=CALL_IDS, tag=MAYBE_TAGS, blocked=st.booleans(), what=st.sampled_from(Block))
    def block(self, call_id: bytes, tag: bytes, blocked: bool, what: Block) -> None:
        def do(proxy: Proxy) -> None:
            offers = self.offers(proxy, call_id)
            if offers is not None:
                offers.block(tag, what, blocked=blocked)

        self.same(do)

    # --- packets and time -----------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 7),
        leg=st.integers(0, 7),
        source=SOURCES,
        sequence=st.sampled_from([*range(8), 9000]),
        ssrc=st.integers(0, 5),
        payload_type=st.sampled_from([0, 8, 96, 101]),
    )
    def packet(
        self, *, which: int, leg: int, source: Endpoint, sequence: int, ssrc: int, payload_type: int
    ) -> None:
        packet = rtp_packet(sequence, sequence * 160, ssrc=ssrc, payload_type=payload_type)

        def do(proxy: Proxy) -> object:
            session = self.find_session(proxy, which)
            if session is None or leg >= len(session.legs):
                return None
            mine = session.legs[leg]
            if not mine.admit(source, memoryview(packet), now=self.now):
                mine.count_drop(Drop.SOURCE_MISMATCH)
                return False
            mine.packets += 1
            mine.bytes += len(packet)
            meter = mine.find_meter()
            if meter is not None:
                meter.measure(packet, len(packet), self.now)
            return True

        self.same(do)

    @rule(
        which=st.integers(0, 2),
        numbers=st.lists(st.integers(0, 9), min_size=2, max_size=5),
        ssrc=st.integers(0, 5),
        moving=st.booleans(),
    )
    def talk(self, which: int, numbers: list[int], ssrc: int, moving: bool) -> None:
        """One end sends speech, in any order."""
        for number in numbers:
            self.now += 0.02
            self.packet(
                which=which,
                leg=0,
                source=Endpoint("198.51.100.1", 4000),
                sequence=number,
                ssrc=ssrc,
                payload_type=0,
            )
        if moving:
            self.move()

    @rule(which=st.integers(0, 7))
    def look(self, which: int) -> None:
        def do(proxy: Proxy) -> object:
            session = self.find_session(proxy, which)
            return session and (
                session.note(now=self.now),
                [leg.close_window(now=self.now) for leg in session.legs],
                [leg.silence_s(now=self.now) for leg in session.legs],
            )

        self.same(do)

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.5, 1.0, 3.0, 10.0, 30.0, 180.0, 3600.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.same(lambda proxy: by_call(proxy.events.expire(proxy.table, now=self.now)))

    # --- what can be seen -----------------------------------------------------------------------------

    @invariant()
    def they_are_indistinguishable(self) -> None:
        assert self.seen(self.stays) == self.seen(self.moves)

    @invariant()
    def what_is_written_down_is_the_same(self) -> None:
        clock = Clock(self.now, self.now)
        first, second = ([take_snapshot(call, clock=clock) for call in p.table] for p in self.both)
        assert first == second

    @invariant()
    def sockets_and_sessions_are_counted(self) -> None:
        for proxy in self.both:
            resources = proxy.table.resources
            groups = [group for call in proxy.table for _, group in call.groups]
            sockets = {id(socket) for group in groups for socket in group.all_sockets}
            assert resources.sockets == len(proxy.plane.open) == len(sockets)
            assert resources.sessions == len(proxy.plane.running) == len(list(proxy.table.running))
            for group in groups:
                users = [group in (each.group_from, each.group_to) for each in proxy.plane.running]
                assert group.users == sum(users)

    def teardown(self) -> None:
        for proxy in self.both:
            for call in list(proxy.table):
                proxy.table.close_call(call.call_id, now=self.now)
            assert proxy.nothing_is_left

    # --- helpers --------------------------------------------------------------------------------------

    def seen(self, proxy: Proxy) -> object:
        """What others see of a relay: ports, sessions' information, where packets go, what was counted."""
        sessions = [
            (
                session_info(session, call.call_id, cseq, wall_offset_s=0.0),
                [self.leg_seen(leg) for leg in session.legs],
            )
            for call in proxy.table
            for cseq, session in call.sessions
        ]
        dues = [(call.call_id, call.last_active, call.next_expiry) for call in proxy.table]
        return proxy.plane.ports, proxy.table.resources.ports.free, sessions, dues

    def leg_seen(self, leg: Leg) -> object:
        streams = [(each.ssrc, each.packets, each.lost, each.jitter_s) for each in leg.streams]
        sockets = (leg.socket.local, leg.egress.socket.local)
        rtcp = None if leg.rtcp is None else leg.rtcp.socket.local
        return leg.egress.destination, sockets, rtcp, leg.drops, leg.blocked, leg.latched, streams

    def find_session(self, proxy: Proxy, which: int) -> Session | None:
        running = sorted(proxy.plane.running, key=lambda session: session.id)
        return running[which] if which < len(running) else None

    def offers(self, proxy: Proxy, call_id: bytes) -> Offers | None:
        call = proxy.table.find_call(call_id)
        return None if call is None else call.offers


TwinsMachine.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
TestTwins = TwinsMachine.TestCase
