"""Calls with SRTP on one side outlive their processes: the same keys, no index twice, media both ways."""

from collections.abc import Callable

import pytest

from tests.ng.ng_call import End, NgCall
from tests.profiles import quick_first
from tests.srtp.phone import SrtpPhone
from tests.srtp.talk import OptionalTalk, SecureTalk
from tests.survival.faults import EACH_FAULT, kill_shards, ng_client
from tools.harness.deployment import Deployment
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import eventually


@pytest.mark.parametrize("happen", EACH_FAULT)
@pytest.mark.parametrize(
    ("begin", "suite"),
    quick_first(
        [
            (SecureTalk.begin_by_plain, "AEAD_AES_128_GCM"),
            (SecureTalk.begin_by_secure, "AES_CM_128_HMAC_SHA1_80"),
        ]
    ),
)
def test_media_go_on_decrypted_both_ways(
    deployment: Deployment,
    phones: tuple[End, MediaPeer],
    begin: Callable[[SecureTalk], None],
    suite: str,
    happen: Callable[[Deployment], None],
) -> None:
    alice, peer = phones
    with ng_client(deployment) as client:
        call = SecureTalk(NgCall(client), alice, SrtpPhone(peer, suite))
        begin(call)
        for _ in range(3):
            call.goes_both_ways()
    for _ in range(2):
        happen(deployment)
        with ng_client(deployment) as again:
            call.call.client = again
            eventually(call.call.is_known, "the call is known again")
            # the phones have sent on meanwhile
            for skipped in (200, 0, 1):
                call.goes_both_ways(skipped)


@pytest.mark.parametrize("begin", quick_first([OptionalTalk.begin_by_secure, OptionalTalk.begin_by_plain]))
def test_keys_that_an_offer_of_plain_rtp_has_outlive_a_shard(
    deployment: Deployment, phones: tuple[End, MediaPeer], begin: Callable[[SecureTalk], None]
) -> None:
    """OSRTP: between the offer and its answer, and after it."""
    alice, peer = phones
    with ng_client(deployment) as client:

        def kill() -> None:
            kill_shards(deployment)
            eventually(call.call.is_known, "the call is known again")

        call = OptionalTalk(NgCall(client), alice, SrtpPhone(peer, proto="RTP/AVP"), kill)
        begin(call)
        for _ in range(3):
            call.goes_both_ways()
        kill()
        for skipped in (200, 0, 1):
            call.goes_both_ways(skipped)
