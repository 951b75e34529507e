"""Damaged and contradictory secrets of calls: a call with them is refused, or lives on whole."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.calls.call import Call
from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.calls.snapshots.call import Clock, restore_call, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.snapshots.secrets import Secrets
from nh.commands import Answer, CloseCall, IceHandling, Offer, OfferOptions, Query, ShowCall
from nh.errors import Refused, SnapshotUnreadable
from nh.shard.relay import Relay
from tests.profiles import examples
from tests.shard.offering_ends import FINGERPRINT, KEY, SUITE
from tests.shard.testbed import V4
from tests.sip.sdp import MediaLine, write_sdp

CALL = b"secured"


def sdp(proto: str, *attributes: str) -> bytes:
    return write_sdp([MediaLine(V4, 4000, proto=proto, attributes=attributes)]).encode()


PLAIN = sdp("RTP/AVP")
SDES = sdp("RTP/SAVP", f"crypto:1 {SUITE} {KEY}")
DTLS = sdp("UDP/TLS/RTP/SAVPF", FINGERPRINT, "setup:active", "rtcp-mux")
ICE = sdp("RTP/AVP", "ice-ufrag:them", "ice-pwd:" + "p" * 22, f"candidate:1 1 UDP 1 {V4} 4000 typ host")
SIDES = {
    "SRTP": (SDES, PLAIN, OfferOptions(transport_protocol="RTP/AVP")),
    "DTLS": (PLAIN, DTLS, OfferOptions(transport_protocol="UDP/TLS/RTP/SAVPF")),
    "ICE": (ICE, ICE, OfferOptions(ice=IceHandling.FORCE)),
}
"""By what has the secrets: the SDP of the caller, that of the callee, and the options of both."""


def offer(body: bytes, options: OfferOptions) -> Offer:
    return Offer(CALL, b"alice", b"", b"", body, options)


def answer(body: bytes, options: OfferOptions) -> Answer:
    return Answer(CALL, b"alice", b"bob", b"", body, options)


@contextlib.contextmanager
def relay_on(ports: range) -> Iterator[Relay]:
    """A relay, all whose calls end behind the context; nothing is left of them then."""
    relay = Relay(
        RelayConfig(RelaySettings(), ports=(ports[0], ports[-1]), interfaces=(Interface("near", V4, V4),))
    )
    with contextlib.closing(relay):
        yield relay
        for call in list(relay.table):
            relay.execute(CloseCall(call.call_id))
        relay.update_stats()
        stats = relay.stats
        assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)


def saved(ports: range, secured_by: str) -> bytes:
    """The snapshot of a call."""
    caller, callee, options = SIDES[secured_by]
    with relay_on(ports) as relay:
        relay.execute(offer(caller, options))
        relay.execute(answer(callee, options))
        return snapshot_of(relay.table.get_call(CALL))


def snapshot_of(call: Call) -> bytes:
    return encode_snapshot(take_snapshot(call, clock=Clock(1.0, 1.0)))


def places(tree: object, path: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """All paths to something in a tree."""
    if path:
        yield path
    inner = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def changed(tree: Any, path: tuple[int | str, ...], change: Callable[[Any, int | str], None]) -> Any:
    """The tree with one of its parts changed."""
    copied = copy.deepcopy(tree)
    change(functools.reduce(lambda each, key: each[key], path[:-1], copied), path[-1])
    return copied


def drop(parent: Any, key: int | str) -> None:
    """Take one part out."""
    del parent[key]


def double(parent: Any, key: int | str) -> None:
    """Have one part of a list twice; that of a dictionary stays."""
    if isinstance(parent, list) and isinstance(key, int):
        parent.insert(key, copy.deepcopy(parent[key]))


def put(value: object) -> Callable[[Any, int | str], None]:
    """Put a value in the place of a part."""

    def change(parent: Any, key: int | str) -> None:
        parent[key] = value

    return change


CHANGES = st.one_of(
    st.sampled_from([drop, double]),
    st.one_of(
        st.sampled_from([None, True, 0, 1, 2, 2**16, 2**48, -1, 0.5, "", "x" * 300, [], {}, [None]]),
        st.binary(max_size=40),
        st.integers(-(2**63), 2**64 - 1),
    ).map(put),
)


def is_restored(ports: range, snapshot: bytes, secrets: bytes, options: OfferOptions) -> bool:
    """Whether a call with these secrets is restored; if so it can go on, be saved and be ended."""
    with relay_on(ports) as relay:
        altered = msgspec.structs.replace(decode_snapshot(snapshot), secrets=secrets)
        try:
            call = restore_call(relay.table, altered, shift_s=0.0, now=0.0)
        except (SnapshotUnreadable, Refused):
            return False
        for command in (ShowCall(CALL), Query(CALL, b""), *again(options)):
            with contextlib.suppress(Refused):
                relay.execute(command)
        assert decode_snapshot(snapshot_of(call)).call_id == CALL
    return True


def again(options: OfferOptions) -> Iterator[Offer | Answer]:
    """What the ends may say next."""
    for body, wanted in itertools.product((PLAIN, SDES, DTLS, ICE), (options, OfferOptions())):
        yield Offer(CALL, b"bob", b"alice", b"", body, wanted)
        yield answer(body, wanted)


@pytest.mark.parametrize("secured_by", SIDES)
def test_the_calls_of_these_tests_can_be_restored(ports: range, secured_by: str) -> None:
    snapshot = saved(ports, secured_by)
    secrets = decode_snapshot(snapshot).secrets
    assert is_restored(ports, snapshot, secrets, SIDES[secured_by][2])


@pytest.mark.parametrize("secured_by", SIDES)
def test_whatever_changes_in_its_secrets_a_call_is_whole_or_refused(ports: range, secured_by: str) -> None:
    snapshot = saved(ports, secured_by)
    tree = msgspec.msgpack.decode(decode_snapshot(snapshot).secrets)

    @settings(
        max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(path=st.sampled_from([*places(tree)]), change=CHANGES)
    def holds(path: tuple[int | str, ...], change: Callable[[Any, int | str], None]) -> None:
        secrets = msgspec.msgpack.encode(changed(tree, path, change))
        is_restored(ports, snapshot, secrets, SIDES[secured_by][2])

    holds()


@pytest.mark.parametrize(
    "damage",
    [lambda der, key: (b"", key), lambda der, key: (der[:-1], key), lambda der, key: (der, key[:-1])],
    ids=["no certificate", "a certificate cut short", "a key cut short"],
)
def test_a_call_whose_certificate_is_damaged_is_refused(
    ports: range, damage: Callable[[bytes, bytes], tuple[bytes, bytes]]
) -> None:
    """Otherwise the first packet of its handshake would end the shard."""
    snapshot = saved(ports, "DTLS")
    secrets = msgspec.msgpack.decode(decode_snapshot(snapshot).secrets, type=Secrets)
    (own,) = secrets.certificates
    der, key = damage(own.der, own.key)
    spoiled = msgspec.structs.replace(secrets, certificates=[msgspec.structs.replace(own, der=der, key=key)])
    assert not is_restored(ports, snapshot, msgspec.msgpack.encode(spoiled), SIDES["DTLS"][2])


def test_a_call_whose_ice_has_no_credentials_is_refused(ports: range) -> None:
    snapshot = saved(ports, "ICE")
    secrets = msgspec.msgpack.decode(decode_snapshot(snapshot).secrets, type=Secrets)
    assert secrets.ice is not None
    agents = [msgspec.structs.replace(each, credentials=[]) for each in secrets.ice.agents]
    spoiled = msgspec.structs.replace(secrets, ice=msgspec.structs.replace(secrets.ice, agents=agents))
    assert not is_restored(ports, snapshot, msgspec.msgpack.encode(spoiled), SIDES["ICE"][2])
