"""What a call shows of the addresses that its SDPs name in place of the relay's own."""

import pytest

from nh.calls.interfaces import Interface
from nh.commands import ShowCall
from nh.results import CallDetail
from tests.shard.conftest import MakeKernelPath, MakeNg, makes
from tests.shard.ng_testbed import CALL, NgTestbed
from tests.shard.rtpproxy_testbed import RtpproxyTestbed
from tests.shard.testbed import V4, RelayTestbed
from tools.harness.media_peer import MediaPeer

PUBLIC, ASKED_FOR = "198.51.100.200", "192.0.2.99"


def shown(testbed: RelayTestbed, call_id: bytes = CALL) -> CallDetail:
    call = testbed.relay.execute(ShowCall(call_id))
    assert isinstance(call, CallDetail)
    return call


def in_sdps(testbed: RelayTestbed, call_id: bytes = CALL) -> tuple[str, str]:
    """The addresses of the relay in the SDP that each end got."""
    [session] = shown(testbed, call_id).sessions
    rtp = session.pairs[0]
    for leg in (rtp.from_, rtp.to):
        assert leg.sdp_endpoint.rpartition(":")[2] == leg.local.rpartition(":")[2], "the port is the same"
    return rtp.from_.sdp_endpoint.rpartition(":")[0], rtp.to.sdp_endpoint.rpartition(":")[0]


@pytest.fixture
def nat(make_ng: MakeNg) -> NgTestbed:
    return make_ng(Interface("nat", V4, PUBLIC))


def test_behind_a_nat_the_sdp_for_both_ends_has_its_public_address(
    nat: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    nat.connect(alice, bob)
    assert in_sdps(nat) == (PUBLIC, PUBLIC)
    assert [group.media[0].address for group in shown(nat).groups] == [PUBLIC, PUBLIC]


def test_without_a_nat_the_address_is_that_which_is_bound(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    ng = make_ng(Interface("plain", V4, V4))
    ng.connect(alice, bob)
    [session] = shown(ng).sessions
    assert session.pairs[0].from_.advertised == ""
    assert in_sdps(ng) == (V4, V4)


def test_an_address_that_the_client_asked_for_is_told_to_its_receiver_alone(
    nat: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    nat.offer(alice, media_address=ASKED_FOR)
    nat.answer(bob)
    assert in_sdps(nat) == (PUBLIC, ASKED_FOR)


def test_the_latest_sdp_counts(nat: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    nat.offer(alice, media_address=ASKED_FOR)
    nat.answer(bob)
    nat.offer(alice, to=b"bob", media_address=V4)
    nat.answer(bob)
    assert in_sdps(nat) == (PUBLIC, V4)


def test_it_outlives_the_process(nat: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    nat.offer(alice, media_address=ASKED_FOR)
    nat.answer(bob)
    nat.restore()
    assert in_sdps(nat) == (PUBLIC, ASKED_FOR)


def test_a_proxy_of_rtpproxy_is_told_it_too(
    ports: range,
    make_kernel_path: MakeKernelPath,
    caplog: pytest.LogCaptureFixture,
    alice: MediaPeer,
    bob: MediaPeer,
) -> None:
    interfaces = (Interface("nat", V4, PUBLIC),)
    with makes(RtpproxyTestbed, ports, make_kernel_path, caplog, interfaces) as make:
        relay = make()
        relay.connect(alice, bob)
        assert in_sdps(relay, b"call") == (PUBLIC, PUBLIC)
