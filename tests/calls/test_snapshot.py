"""What a call is after it was written down and made again."""

import msgspec
import pytest

from nh.calls.call import Call
from nh.calls.drop import Drop
from nh.calls.latching.claims import KNOWN, Carried
from nh.calls.latching.rules import ELSEWHERE_S
from nh.calls.leg import Leg
from nh.calls.media import Block, Endpoint, Media, Side
from nh.calls.offer_answer.agreement import AgreedTransports
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offered import RelayOffer
from nh.calls.offer_answer.party import Party
from nh.calls.one_or_many import OneOrMany
from nh.calls.rare import Rare
from nh.calls.rtp.payload_types import PayloadTypes
from nh.calls.rtp.reports import MIN_REPORTED, note_reception
from nh.calls.session import Session
from nh.calls.snapshots.call import CallSnapshot, Clock, restore_call, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.snapshots.leg import LegSnapshot
from nh.calls.snapshots.media import GroupSnapshot
from nh.calls.snapshots.offer_answer import DialogSnapshot
from nh.calls.snapshots.party import PartySnapshot
from nh.calls.snapshots.session import SessionSnapshot
from nh.calls.snapshots.transaction import TransactionSnapshot
from nh.calls.snapshots.version import VERSION
from nh.calls.sockets.group import SocketGroup
from nh.calls.transaction import Transaction
from nh.errors import AddressUnavailable, PortsExhausted, Refused, SnapshotUnreadable
from tests.calls.fakes import (
    ALICE_AUDIO,
    BOB_AUDIO,
    CALL,
    HELD_AUDIO,
    RELAY,
    START,
    FakeFlow,
    Proxy,
    make_proxy,
    receive,
)
from tests.calls.legs import PACKET, speaks
from tests.calls.ng_proxy import A_AUDIO, A_HELD, A_MOVED, B_AUDIO, C_AUDIO, A, B, C, NgProxy, make_ng_proxy
from tests.calls.rtp import PCMU, Sender
from tests.calls.snapshots import move_calls, written

NAT = Endpoint("203.0.113.200", 9999)


def moved(proxy: Proxy, *, shift_s: float = 0.0) -> Proxy:
    """The same proxy with another relay, to which its calls were moved."""
    other = make_proxy()
    other.now = proxy.now + shift_s
    move_calls(proxy.table, other.table, now=proxy.now, shift_s=shift_s)
    return other


def ng_moved(ng: NgProxy, *, foreign: set[str] = set()) -> NgProxy:  # noqa: B006  it is only read
    other = make_ng_proxy()
    other.plane.foreign |= foreign
    other.now = ng.now
    move_calls(ng.table, other.table, now=ng.now)
    return other


def test_a_call_goes_on_with_its_ports_and_its_session() -> None:
    proxy = make_proxy()
    session = proxy.connect()
    after = moved(proxy)
    (restored,) = after.plane.running
    assert restored.id == session.id
    assert after.plane.ports == proxy.plane.ports
    assert after.offer(ALICE_AUDIO) == proxy.offer(ALICE_AUDIO), "a retransmission gets the same ports"
    assert not after.activate()
    assert after.bye() == proxy.bye()
    assert after.nothing_is_left


def test_a_latched_leg_stays_latched_with_what_was_counted() -> None:
    proxy = make_proxy()
    session = proxy.connect()
    alice, bob = session.legs[:2]
    assert speaks(alice, NAT, now=START, for_s=ELSEWHERE_S)
    proxy.now += 5
    assert alice.close_window(now=proxy.now)
    receive(alice, 172, 172, at=proxy.now)
    bob.count_drop(Drop.NO_TARGET)
    legs = moved(proxy).plane.running[0].legs
    assert legs[0].source == legs[0].destination == NAT
    assert legs[0].latched
    assert not legs[0].admit(Endpoint("192.0.2.66", 4000), PACKET, now=proxy.now)
    assert (legs[0].packets, legs[0].bytes) == (2, 344)
    assert legs[1].drops == bob.drops


def test_an_announced_source_is_kept_once() -> None:
    proxy = make_proxy()
    leg = proxy.connect().legs[0]
    assert leg.admit(Endpoint("198.51.100.1", 4000), PACKET, now=START)
    after = moved(proxy).plane.running[0].legs[0]
    assert after.source is after.announced


def test_a_scoped_link_local_source_is_a_source() -> None:
    proxy = make_proxy()
    speaks(proxy.connect().legs[0], Endpoint("fe80::1%eth0.7", 4000), now=START, for_s=ELSEWHERE_S)
    assert moved(proxy).plane.running[0].legs[0].source == Endpoint("fe80::1%eth0.7", 4000)


def test_rtp_is_measured_on_as_if_nothing_had_been() -> None:
    proxy = make_proxy()
    meter = proxy.connect().legs[0].find_meter()
    assert meter is not None
    senders = [Sender(meter, ssrc=ssrc) for ssrc in range(4)]
    for sender in senders:
        sender.send(0, 1, 3, 3, 2, 7)
    other = moved(proxy).plane.running[0].legs[0].find_meter()
    assert other is not None
    assert other.to_state() == meter.to_state()
    for ssrc in (2, 3, 9):
        for each in (meter, other):
            Sender(each, ssrc=ssrc, payload_type=PCMU, now=1001.0).send(8, 9, 12, 10)
    assert other.to_state() == meter.to_state()


def test_what_icmp_and_rtcp_said_and_what_the_sdps_allow_is_known_still() -> None:
    proxy = make_proxy()
    proxy.offer(msgspec.structs.replace(ALICE_AUDIO, payload_types=(0, 101), mute=True))
    proxy.answer(BOB_AUDIO)
    proxy.activate()
    alice, bob = proxy.plane.running[0].legs[:2]
    bob.note_unreachable(now=proxy.now)
    meter = alice.find_meter()
    assert meter is not None
    Sender(meter, ssrc=1).send(*range(MIN_REPORTED))
    note_reception(meter, [(1, 7, 64)])
    Sender(meter, ssrc=1, first=MIN_REPORTED).send(*range(MIN_REPORTED))
    note_reception(meter, [])
    session = moved(proxy).plane.running[0]
    after, other = session.legs[:2]
    assert (other.unreachable, other.unreachable_at) == (1, proxy.now)
    assert after.meter is not None
    assert (after.meter.deaf_reports, after.meter.streams[0].reported) == (1, (7, 64))
    assert other.payload_types is not None
    assert other.payload_types.allowed == (0, 101)
    assert session.group_from.media[0].direction == "recvonly"


def test_times_are_shifted_to_another_clock() -> None:
    proxy = make_proxy()
    proxy.connect()
    proxy.now += 20
    after = moved(proxy, shift_s=-900.0)
    assert not after.expire(after_s=9.9).sessions
    assert [info.reason for info in after.expire(after_s=0.2).sessions] == ["expired"]


def test_nothing_happened_later_than_now_though_a_clock_was_set_back() -> None:
    proxy = make_proxy()
    session = proxy.connect()
    data = written(proxy.table, CALL, now=START)
    other = make_proxy()
    restore_call(other.table, decode_snapshot(data), shift_s=1e6, now=START)
    assert other.plane.running[0].last_active == other.plane.running[0].created == START
    assert other.plane.running[0].legs[0].window_ends == session.legs[0].window_ends


def test_ids_of_any_bytes_and_names_as_addresses_come_through() -> None:
    proxy = make_proxy()
    caller, callee = b"\xff\xfe\0a", b"\0" * 3
    named = Media("pbx.example.org", 4000, 2, "RTP/AVP", "audio")
    proxy.offer(named, call_id=b"\x80\0", caller=caller, callee=callee)
    proxy.answer(BOB_AUDIO, call_id=b"\x80\0", caller=caller, callee=callee)
    proxy.activate(call_id=b"\x80\0", caller=caller, callee=callee, param={"user": "jürgen\0"})
    after = moved(proxy)
    bye = {"call_id": b"\x80\0", "caller": caller, "callee": callee}
    (info,) = after.bye(**bye)  # type: ignore[arg-type]
    assert [info] == proxy.bye(**bye)  # type: ignore[arg-type]
    assert info.param == {"user": "jürgen\0"}


@pytest.mark.parametrize("media", [(), (ALICE_AUDIO,), (HELD_AUDIO, ALICE_AUDIO)])
def test_a_transaction_with_one_group_is_completed_later(media: tuple[Media, ...]) -> None:
    proxy = make_proxy()
    announced = proxy.offer(*media)
    after = moved(proxy)
    assert after.offer(*media) == announced
    after.answer(*media)
    assert after.activate()
    assert after.expire(after_s=7200).sessions
    after.expire(after_s=180)
    assert after.nothing_is_left


def test_media_may_be_cut_into_ports_in_two_ways() -> None:
    proxy = make_proxy()
    proxy.connect(
        offered=(ALICE_AUDIO, ALICE_AUDIO), answered=(Media("203.0.113.9", 6000, 4, "RTP/AVP", "audio"),)
    )
    assert [leg.announced for leg in moved(proxy).plane.running[0].legs] == [
        leg.announced for leg in proxy.plane.running[0].legs
    ]


def test_a_replaced_session_relays_until_its_time_is_over() -> None:
    proxy = make_proxy()
    proxy.connect()
    proxy.now += 1
    proxy.connect(cseq=2)
    after = moved(proxy)
    assert len(after.plane.running) == 2
    after.expire(after_s=1.0)
    assert [session.id for session in after.plane.running] == [2]
    with pytest.raises(Refused):
        after.activate(cseq=1)


def test_numbers_of_sessions_advance_past_those_that_were_restored() -> None:
    proxy = make_proxy()
    proxy.connect()
    proxy.connect(call_id=b"two")
    after = moved(proxy)
    assert after.connect(call_id=b"three").id == 3
    resources = after.table.resources
    assert resources.sessions == 3


def test_a_forked_offer_has_its_sockets_once() -> None:
    ng = make_ng_proxy()
    ng.offer(A_AUDIO, expecting=True)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C)
    after = ng_moved(ng)
    assert after.plane.ports == ng.plane.ports
    one, two = after.plane.running
    assert one.group_from is two.group_from
    assert one.legs[1].socket is two.legs[1].socket
    assert after.talking == ng.talking
    after.delete()
    assert after.nothing_is_left


def test_early_media_go_on_and_their_sockets_are_the_first_answers() -> None:
    ng = make_ng_proxy()
    ng.offer(A_AUDIO, branch=b"x", expecting=True)
    after = ng_moved(ng)
    early = after.offers.participants.early[0]
    assert early.caller is after.offers.parties[0]
    assert after.answer(B_AUDIO, branch=b"x") == ng.answer(B_AUDIO, branch=b"x")
    assert after.plane.ports == ng.plane.ports
    assert after.talking == {frozenset((A, B))}


def test_what_few_calls_have_takes_no_memory_of_the_others() -> None:
    ng = make_ng_proxy()
    session = ng.connect()
    after = ng_moved(ng)
    (dialog,), (known,) = after.offers.dialogs, ng.offers.dialogs
    assert dialog.superseded is known.superseded
    assert after.plane.running[0].param is session.param


def test_what_was_agreed_goes_on_beside_an_offer() -> None:
    ng = make_ng_proxy()
    ng.connect()
    ng.offer(A_MOVED, to=B)
    after = ng_moved(ng)
    assert len(after.plane.running) == 2
    (dialog,) = after.offers.dialogs
    assert dialog.superseded[0].group_from is dialog.caller.superseded[0][1]
    after.offer(A_AUDIO, to=B)
    assert [session.id for _, session in dialog.current] == [1], "back to what was agreed"


@pytest.mark.parametrize("types", [None, PayloadTypes({96: 8000}, {96: "AMR"})])
def test_a_leg_keeps_its_payload_types_whatever_its_ends_announce_meanwhile(
    types: PayloadTypes | None,
) -> None:
    ng = make_ng_proxy()
    ng.connect()
    leg = ng.plane.running[0].legs[Side.FROM]
    assert leg.payload_types not in (None, types)
    leg.set_payload_types(types)
    assert ng_moved(ng).plane.running[0].legs[Side.FROM].payload_types == types


def test_a_leg_carries_what_it_did_whatever_its_ends_announce_meanwhile() -> None:
    ng = make_ng_proxy()
    ng.connect()
    leg = ng.plane.running[0].legs[Side.FROM]
    leg.terms = msgspec.structs.replace(leg.terms, carried=Carried.UDPTL)
    assert ng_moved(ng).plane.running[0].legs[Side.FROM].terms == leg.terms


def test_what_only_another_release_tells_apart_a_leg_does_not_carry_here() -> None:
    ng = make_ng_proxy()
    ng.connect()
    known = decode_snapshot(written(ng.table, CALL, now=ng.now))
    session = known.sessions[0]
    legs = [msgspec.structs.replace(each, carried=(each.carried or 0) | KNOWN + 1) for each in session.legs]
    newer = msgspec.structs.replace(known, sessions=[msgspec.structs.replace(session, legs=legs)])
    after = make_ng_proxy()
    restore_call(after.table, newer, shift_s=0.0, now=ng.now)
    (before,), (restored,) = ng.plane.running, after.plane.running
    assert [leg.terms for leg in restored.legs] == [leg.terms for leg in before.legs]


def test_an_unanswered_hold_still_waits() -> None:
    ng = make_ng_proxy()
    ng.connect()
    ng.offer(A_HELD, to=B)
    after = ng_moved(ng)
    assert not after.plane.running[0].on_hold
    after.answer(B_AUDIO)
    assert after.plane.running[0].on_hold


def test_mux_blocking_and_marks_come_through() -> None:
    ng = make_ng_proxy()
    ng.offer(A_AUDIO, dscp=46)
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    session.set_mux(from_muxes=True, to_muxes=False)
    ng.block(A)
    ng.block(B, Block.DTMF)
    ng.block(A, Block.SOUND)
    after = ng_moved(ng)
    (restored,) = after.plane.running
    assert restored.legs[0].rtcp is restored.legs[2]
    assert restored.legs[2].muxed_on is restored.legs[0]
    assert [leg.blocked for leg in restored.legs] == [True, False, True, False]
    assert [leg.dtmf_blocked for leg in restored.legs] == [False, True, False, True]
    assert [leg.silenced for leg in restored.legs] == [True, False, True, False]
    after.answer(C_AUDIO, tag=C)
    assert {party.tag for party in after.offers.parties if party.dtmf_blocked} == {B}
    assert {party.tag for party in after.offers.parties if party.silenced} == {A}
    assert set(after.plane.dscp.values()) == {46, None}


def test_a_delete_that_waits_comes() -> None:
    ng = make_ng_proxy()
    ng.connect()
    ng.delete(A, delay_s=20)
    after = ng_moved(ng)
    after.expire(after_s=19)
    assert after.tags == {A, B}
    after.expire(after_s=1)
    assert after.nothing_is_left


def test_how_far_the_kernel_was_counted_is_handed_on() -> None:
    proxy = make_proxy()
    leg = proxy.connect().legs[0]
    FakeFlow(leg).folded = (7, 1204)
    leg.offloaded = 9
    legs = moved(proxy).plane.running[0].legs
    assert (legs[0].kernel_folded, legs[0].offloaded) == ((7, 1204), 9)
    assert legs[1].kernel_folded is None


# --- what cannot be restored ----------------------------------------------------------------------------


def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    proxy = make_proxy()
    proxy.connect()
    snapshot = decode_snapshot(written(proxy.table, CALL, now=START))
    for held in proxy.plane.ports:
        other = make_proxy()
        other.plane.held.add(held)
        with pytest.raises(PortsExhausted):
            restore_call(other.table, snapshot, shift_s=0.0, now=START)
        assert other.nothing_is_left
    other = make_proxy()
    other.plane.foreign.add(RELAY)
    with pytest.raises(AddressUnavailable):
        restore_call(other.table, snapshot, shift_s=0.0, now=START)
    assert other.nothing_is_left


def test_a_session_that_cannot_be_started_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    ng = make_ng_proxy()
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C)
    other = make_ng_proxy()
    start = other.plane.start

    def start_one(session: object) -> None:
        if other.plane.running:
            raise MemoryError
        start(session)  # type: ignore[arg-type]

    monkeypatch.setattr(other.plane, "start", start_one)
    with pytest.raises(MemoryError):
        restore_call(other.table, decode_snapshot(written(ng.table, CALL, now=START)), shift_s=0, now=START)
    assert other.nothing_is_left


def test_a_call_is_not_restored_twice() -> None:
    proxy = make_proxy()
    proxy.connect()
    with pytest.raises(Refused):
        move_calls(proxy.table, proxy.table, now=START)
    assert len(proxy.plane.running) == 1


def test_limits_and_draining_are_for_new_calls() -> None:
    proxy = make_proxy()
    proxy.connect()
    other = make_proxy()
    other.table.draining = True
    move_calls(proxy.table, other.table, now=START)
    assert len(other.table) == 1


def test_other_versions_are_not_reported_as_damage() -> None:
    proxy = make_proxy()
    proxy.connect()
    data = written(proxy.table, CALL, now=START)
    with pytest.raises(SnapshotUnreadable, match=f"version {VERSION + 1}"):
        decode_snapshot(bytes((VERSION + 1,)) + data[1:])
    with pytest.raises(SnapshotUnreadable, match="checksum"):
        decode_snapshot(data[:-1] + b"\xff")
    for short in range(len(data)):
        with pytest.raises(SnapshotUnreadable):
            decode_snapshot(data[:short])


def test_a_snapshot_is_the_same_after_its_way_through_bytes() -> None:
    ng = make_ng_proxy()
    ng.connect()
    snapshot = take_snapshot(ng.table.get_call(CALL), clock=Clock(START, 1e9))
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    assert [group.side for group in snapshot.groups] == [Side.FROM, Side.TO]


# what each class has beside the members that its snapshot has under the same name
APART: dict[type, set[str]] = {
    Call: {"transactions", "offers", "_shared"},
    Transaction: set(),
    SocketGroup: {
        "users",  # counted anew
        "sockets",  # `bases`
        "unannounced",  # `announced`
        "components",  # the ranges of `media`
        *("security", "ice"),  # `secrets` of the call
        "_sharing",  # `shares`
        "_addresses",  # `address`, `advertised`
    },
    Session: {"packed_param"},  # `param`
    Leg: {
        "replaced",  # its session's
        "left",  # `sessions` and `replaced` of its dialog
        *("socket", "other", "rtcp", "offload", "kernel_folded", "not_offloaded"),
        *("bundle", "bundled_on"),  # `bundles` of its dialog
        "candidates",  # `further` of its group
        "blocks",  # `blocked`, `dtmf_blocked`, `silenced`
        "terms",  # `policy`, `carried`, `receives`; by the settings
        *("rtp", "ice_ufrag"),  # by the media
        *("heard_packets", "heard_at"),  # `heard`
        *("note_due", "place"),  # the next process notes each leg at once, and finds its place
        "muxed_reports",  # RTCP is read some times more
        "security",  # its group's
        *("transforms", "taps"),  # functions: what sets them sets them again
    },
    # as those of legs; `secrets` of the call
    Party: {"agreed", "blocks", "security", "ice", "relay_offer"},
    AgreedTransports: set(),
    RelayOffer: {"keys", "optional_keys", "ice", "dtls"},  # `secrets` of the call
    Dialog: {"_left"},  # within one command
}
SNAPSHOTS = (
    CallSnapshot,
    TransactionSnapshot,
    GroupSnapshot,
    SessionSnapshot,
    LegSnapshot,
    PartySnapshot,
    PartySnapshot,
    PartySnapshot,
    DialogSnapshot,
)


@pytest.mark.parametrize(("of", "snapshot"), list(zip(APART, SNAPSHOTS, strict=True)))
def test_no_member_was_forgotten(of: type, snapshot: type) -> None:
    """A member that is added to one of these needs a place in its snapshot."""
    members = {member for each in of.__mro__ for member in getattr(each, "__slots__", ())} - {"rare"}
    members |= set(getattr(of, "_fields", ()))
    attributes = {name: value for each in of.__mro__ for name, value in vars(each).items()}
    members |= {name for name, value in attributes.items() if isinstance(value, (Rare, OneOrMany))}
    members -= {value.slot for value in attributes.values() if isinstance(value, OneOrMany)}
    assert members - set(snapshot.__struct_fields__) - APART[of] == set()  # type: ignore[attr-defined]
