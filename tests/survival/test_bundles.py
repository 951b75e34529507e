"""A bundle that ends at the relay outlives processes, with all that its packets have taught."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.ng.ng_call import NgCall
from tests.sip.sdp import read_sdp
from tests.survival.faults import EACH_FAULT, kill_shards, ng_client
from tests.webrtc.bundle_phone import MID_EXTENSION, BundlePhone, plain_packet, write_media
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.waiting import eventually

CLASHING = (96, 96)
"""The payload type of both media: a mid alone has told them apart."""

PORTS_OF_ONE_BUNDLE = 2 + 4
"""With RTCP, of two media that come to one port at one end, and to two at the other."""


@pytest.fixture
def peers() -> Iterator[list[MediaPeer]]:
    """The sockets of the phone with the bundle, then those of the media of the plain one."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(MediaPeer("127.0.0.1")) for _ in range(3)]


@pytest.mark.parametrize("happen", EACH_FAULT)
def test_the_media_of_a_bundle_go_on(
    deployment: Deployment, peers: list[MediaPeer], happen: Callable[[Deployment], None]
) -> None:
    bundled, *plain = peers
    phone = BundlePhone(bundled)
    with ng_client(deployment) as client:
        call = NgCall(client)
        offer = call.offer(phone.sdp(MID_EXTENSION, formats=CLASHING), bundle=["accept"])
        said = write_media([each.port for each in plain], [[], []], formats=CLASHING)
        answer = call.answer(said)
        one_port = read_sdp(answer)[0].target
        plain_sends_to = [each.target for each in read_sdp(offer)]

        def talk(sequence: int, mids: tuple[str | None, str | None]) -> None:
            for medium, peer in enumerate(plain):
                packet = phone.packet(medium, b"%d" % medium, mids[medium], payload_type=CLASHING[medium])
                bundled.send_raw(packet, one_port)
                assert peer.receive(RTP) == (packet, plain_sends_to[medium])
                packet = plain_packet(medium, sequence, b"back")
                peer.send_raw(packet, plain_sends_to[medium])
                assert bundled.receive(RTP) == (packet, one_port)

        talk(1, ("a", "v"))
        for sequence in (2, 3):
            happen(deployment)
            with ng_client(deployment) as again:
                call.client = again
                eventually(call.is_known, "the call is known again")
                # a browser sends its mids at the beginning only
                talk(sequence, (None, None))
        with ng_client(deployment) as again:
            call.client = again
            call.delete()
    eventually(deployment.relay.all_ports_are_free, "all ports are free")


def test_the_ports_that_an_accepted_bundle_has_left_are_closed_after_a_restart_too(
    peers: list[MediaPeer],
) -> None:
    bundled, *plain = peers
    phone = BundlePhone(bundled)
    said = write_media([each.port for each in plain], [[], []])
    with contextlib.ExitStack() as stack:
        deployment = stack.enter_context(
            deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1", unused_s=4)
        )
        relay = deployment.start()
        call = NgCall(stack.enter_context(ng_client(deployment)))
        offer = call.offer(said, bundle=["offer"])
        plain_sends_to = [each.target for each in read_sdp(call.answer(phone.sdp()))]
        one_port = read_sdp(offer)[0].target

        def talk() -> None:
            for medium, peer in enumerate(plain):
                packet = phone.packet(medium, b"%d" % medium)
                bundled.send_raw(packet, one_port)
                assert peer.receive(RTP) == (packet, plain_sends_to[medium])

        def ports() -> int:
            return relay.stats().totals.ports_total - relay.stats().totals.ports_free

        talk()
        eventually(lambda: ports() == PORTS_OF_ONE_BUNDLE, "those that are of no use are closed")
        kill_shards(deployment)
        with ng_client(deployment) as again:
            call.client = again
            eventually(call.is_known, "the call is known again")
            talk()
            # a snapshot may be older than their end
            eventually(lambda: ports() == PORTS_OF_ONE_BUNDLE, "they stay closed, or are closed again")
            call.delete()
        eventually(relay.all_ports_are_free, "all ports are free")
