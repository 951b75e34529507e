"""Calls with ICE on one side outlive their processes: checks are answered as before, and media go on."""

from collections.abc import Callable, Iterator

import pytest

from tests.ice.phone import IcePhone
from tests.ng.ng_call import End, NgCall
from tests.srtp.packets import rtp
from tests.survival.faults import EACH_FAULT, ng_client
from tools.harness.deployment import Deployment
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import eventually


@pytest.fixture
def ends() -> Iterator[tuple[End, MediaPeer, MediaPeer]]:
    """A plain phone, and the two networks of one with ICE: they reach different candidates of the relay."""
    alice = End("alice")
    with MediaPeer("127.0.0.1") as home, MediaPeer("::1") as mobile:
        yield alice, home, mobile
    alice.close()


@pytest.mark.parametrize("happen", EACH_FAULT)
def test_checks_and_media_go_on(
    deployment: Deployment, ends: tuple[End, MediaPeer, MediaPeer], happen: Callable[[Deployment], None]
) -> None:
    alice, home, mobile = ends
    phone = IcePhone(home, "phone")
    with ng_client(deployment) as client:
        call = NgCall(client)
        offer = call.offer(alice.describe(), ICE="force")
        phone.learn(offer.encode())
        alice.read(call.answer(phone.sdp().decode()))
        candidates, alice_sends_to = dict(phone.candidates[::2]), alice.remote[0].target
    number = 0

    def talk(peer: MediaPeer) -> None:
        nonlocal number
        number += 1
        for speaker, to, listener in (
            (peer, (peer.address, candidates[peer.address]), alice.media[0]),
            (alice.media[0], alice_sends_to, peer),
        ):
            speaker.send_raw(rtp(number), to)
            assert listener.receive()[0] == rtp(number)

    def check(peer: MediaPeer) -> None:
        to = (peer.address, candidates[peer.address])
        sent = phone.check(to, nominates=True, peer=peer)
        assert phone.read(peer.receive()[0]).transaction == sent

    check(home)
    for before, after in ((home, mobile), (mobile, home)):
        talk(before)
        happen(deployment)
        with ng_client(deployment) as again:
            call.client = again
            eventually(call.is_known, "the call is known again")
            talk(before)
            check(after)
            talk(after)
