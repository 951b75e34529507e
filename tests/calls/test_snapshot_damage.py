"""Damaged and contradictory snapshots: an error that is meant for it, or a call that is whole."""

import copy
import struct
import zlib

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nh.calls.call_event import CallEvent
from nh.calls.media import Endpoint
from nh.calls.snapshots.call import restore_call
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.snapshots.ice import AgentSnapshot, CredentialsSnapshot
from nh.calls.snapshots.media import MediaSnapshot
from nh.calls.snapshots.version import READABLE, SECRETS, VERSION
from nh.errors import Refused, SnapshotUnreadable
from tests.calls.fakes import ALICE_AUDIO, ALICE_VIDEO, BOB_AUDIO, BOB_VIDEO, CALL, START, Proxy, make_proxy
from tests.calls.legs import PACKET
from tests.calls.ng_proxy import A_AUDIO, A_MOVED, B_AUDIO, C_AUDIO, B, C, D, NgProxy
from tests.calls.rtp import Sender
from tests.calls.snapshots import written
from tests.profiles import examples

EVENTS = (CallEvent(2.25, "latched", b"tag", 4000, "192.0.2.1:9"), CallEvent(1e9, "hook", b"", 0, "x"))
"""One that has a code and its time by the timeline's begin in version 4, and one that has neither."""


def make_rich_call() -> bytes:
    """The bytes of a call of both models with a bit of everything in it."""
    proxy = make_proxy()
    session = proxy.connect(offered=(ALICE_AUDIO, ALICE_VIDEO), answered=(BOB_AUDIO, BOB_VIDEO))
    proxy.connect(cseq=2)
    meter = session.legs[0].find_meter()
    assert meter is not None
    Sender(meter).send(0, 1, 2)
    session.legs[0].admit(ALICE_AUDIO.endpoint(0), PACKET, now=START)  # type: ignore[arg-type]
    ng = NgProxy(proxy.table, proxy.plane)
    ng.offer(A_AUDIO, branch=b"x", expecting=True)
    ng.answer(B_AUDIO, branch=b"x")
    ng.answer(C_AUDIO, tag=C)
    ng.offer(A_MOVED, to=B)
    ng.offer(A_AUDIO, tag=D, branch=b"y", expecting=True)
    for event in EVENTS:
        proxy.table.get_call(CALL).timeline.add(event)
    return written(proxy.table, CALL, now=START)


RICH = make_rich_call()
TREE = msgspec.msgpack.decode(RICH[5:])


def tree_of_version_3() -> object:
    """The same call as an nh of that version wrote it: all events have texts and times of the wall clock."""
    tree = copy.deepcopy(TREE)
    tree[9][2] = [[each.at, each.event, each.tag, each.port, each.detail] for each in EVENTS]
    return tree


TREES = {3: tree_of_version_3(), 4: TREE}


def with_checksum(body: bytes, version: int = VERSION) -> bytes:
    return struct.pack("!BI", version, zlib.crc32(body)) + body


def whole_or_refused(data: bytes) -> bool:
    """Whether a snapshot is restored; if so it is whole and can be ended, if not there is nothing left."""
    proxy = make_proxy(ports=(20_000, 20_099))
    try:
        call = restore_call(proxy.table, decode_snapshot(data), shift_s=0.0, now=START)
    except (SnapshotUnreadable, Refused):
        assert proxy.nothing_is_left
        return False
    assert set(proxy.plane.running) == set(call.running)
    live_and_end(proxy, call.call_id)
    return True


def live_and_end(proxy: Proxy, call_id: bytes) -> None:
    proxy.expire()
    if proxy.table.find_call(call_id) is not None:
        proxy.expire(after_s=0.5)
    for call in list(proxy.table):
        proxy.table.close_call(call.call_id, now=proxy.now)
    assert proxy.nothing_is_left


def places(tree: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """All paths to something in a tree of lists and dictionaries."""
    found = [path] if path else []
    if isinstance(tree, list):
        for key, each in enumerate(tree):
            found += places(each, (*path, key))
    elif isinstance(tree, dict):
        for name, each in tree.items():
            found += places(each, (*path, name))
    return found


PLACES = places(TREE)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 6),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from(
        ["", "127.1", "224.0.0.1", "::", "x y", "pbx.example.org", "fe80::1%a b", "open", "first"]
    ),
    st.binary(max_size=3),
    st.just([]),
    st.lists(st.integers(0, 6), max_size=3),
    st.sampled_from(PLACES).map(lambda path: at(TREE, path)),
)


def at(tree: object, path: tuple[object, ...]) -> object:
    for key in path:
        tree = tree[key]  # type: ignore[index]
    return copy.deepcopy(tree)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """The rich call, of any version, with one to three of its parts exchanged, taken out or doubled."""
    version = draw(st.sampled_from(READABLE))
    tree = copy.deepcopy(TREES[version])
    for _ in range(draw(st.integers(1, 3))):
        *path, key = draw(st.sampled_from(PLACES))
        parent = tree
        try:
            for each in path:
                parent = parent[each]
            how = draw(st.sampled_from(["exchange", "exchange", "take out", "double"]))
            if how == "exchange" or isinstance(parent, dict):
                parent[key] = draw(VALUES)
            elif how == "take out":
                del parent[key]
            else:
                parent.insert(key, copy.deepcopy(parent[key]))
        except (TypeError, IndexError, KeyError, AttributeError):
            continue  # an earlier mutation took it away
    return with_checksum(msgspec.msgpack.encode(tree), version)


@pytest.mark.parametrize("version", READABLE)
def test_the_call_of_these_tests_can_be_restored(version: int) -> None:
    data = with_checksum(msgspec.msgpack.encode(TREES[version]), version)
    assert whole_or_refused(data)
    timeline = decode_snapshot(data).timeline
    assert timeline is not None
    assert timeline.rebuild().events == list(EVENTS)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(data)
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(with_checksum(data))


@given(st.integers(0, len(RICH) - 1), st.integers(1, 255))
@example(0, SECRETS)
@example(0, VERSION ^ READABLE[0])
def test_a_changed_byte_is_noticed_but_for_that_of_another_readable_version(
    position: int, change: int
) -> None:
    data = bytearray(RICH)
    data[position] ^= change
    if data[0] in READABLE and not position:  # all of these versions are read alike
        assert decode_snapshot(bytes(data)) == decode_snapshot(RICH)
        return
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(bytes(data))


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(RICH) - 6), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_with_a_right_checksum_are_refused_or_whole(changes: list[tuple[int, int]]) -> None:
    body = bytearray(RICH[5:])
    for position, value in changes:
        body[position] = value
    whole_or_refused(with_checksum(bytes(body)))


@settings(max_examples=examples(1000), deadline=None)
@given(mutants())
def test_contradictions_are_refused_or_whole(data: bytes) -> None:
    whole_or_refused(data)


def test_what_newer_releases_add_is_left_out() -> None:
    tree = copy.deepcopy(TREE)
    for extended in (tree, tree[4][0], tree[5][0], tree[5][0][10][0], tree[7], tree[7][1][0]):
        extended.append({"a": "later"})
        extended.append(1)
    assert whole_or_refused(with_checksum(msgspec.msgpack.encode(tree)))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(with_checksum(b"\x91" * 100_000))


def test_a_huge_count_allocates_nothing() -> None:
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(with_checksum(b"\xdd\xff\xff\xff\xff"))


@pytest.mark.parametrize(
    ("address", "port", "whole"),
    [
        ("192.0.2.1", 9999, True),
        ("2001:db8::1", 9999, True),
        ("192.0.2.1", 70_000, False),
        ("192.0.2.1", 0, False),
        ("192.0.2.1", -1, False),
        ("log.example.org", 9999, False),
        ("224.0.0.1", 9999, False),
        ("", 9999, False),
    ],
)
def test_telephone_events_go_to_addresses_and_ports(address: str, port: int, whole: bool) -> None:
    target = Endpoint(address, port)
    snapshot = msgspec.structs.replace(decode_snapshot(RICH), dtmf_target=target)
    assert whole_or_refused(encode_snapshot(snapshot)) == whole


OURS = CredentialsSnapshot("ours", "p" * 22)


@pytest.mark.parametrize("count", [0, 3])
def test_an_agent_of_ice_has_one_or_two_credentials(count: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(
            msgspec.msgpack.encode(AgentSnapshot([OURS] * count, "a", "", False)), type=AgentSnapshot
        )


def test_options_of_ice_that_another_release_knows_are_left_out() -> None:
    known = AgentSnapshot([OURS], "a", "", False, ["trickle"])
    newer = msgspec.structs.replace(known, options=["renomination", "trickle", "ice3"])
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(newer), type=AgentSnapshot)
    assert read.rebuild().options == known.rebuild().options == ("trickle",)


def test_handshakes_that_another_release_knows_refuse_no_medium() -> None:
    handshakes = ("stun", "dtls", "zrtp", "udptl", "quic-handshake")
    newer = MediaSnapshot("192.0.2.1", 4000, 2, handshakes=handshakes)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(newer), type=MediaSnapshot)
    assert read.rebuild().handshakes == handshakes
