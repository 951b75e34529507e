"""Calls with DTLS-SRTP outlive their processes: the same keys, no new handshake, media both ways."""

from collections.abc import Callable

import pytest

from tests.ng.ng_call import End, NgCall
from tests.profiles import quick_first
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.dtls_talk import DtlsTalk
from tests.survival.faults import EACH_FAULT, kill_shards, ng_client
from tools.harness.deployment import Deployment
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually


@pytest.mark.parametrize("happen", EACH_FAULT)
@pytest.mark.parametrize(
    ("begin", "profile"),
    quick_first(
        [
            (DtlsTalk.begin_by_plain, "SRTP_AEAD_AES_128_GCM"),
            (DtlsTalk.begin_by_phone, "SRTP_AES128_CM_SHA1_80"),
        ]
    ),
)
def test_media_go_on_decrypted_both_ways(
    deployment: Deployment,
    phones: tuple[End, MediaPeer],
    begin: Callable[[DtlsTalk], None],
    profile: str,
    happen: Callable[[Deployment], None],
) -> None:
    alice, peer = phones
    phone = DtlsPhone(peer, profiles=[profile])
    with ng_client(deployment) as client:
        call = DtlsTalk(NgCall(client), alice, phone)
        begin(call)
        for _ in range(3):
            call.goes_both_ways()
    said = list(phone.says)
    for _ in range(2):
        happen(deployment)
        with ng_client(deployment) as again:
            call.call.client = again
            eventually(call.call.is_known, "the call is known again")
            # the phones have sent on meanwhile
            for skipped in (200, 0, 1):
                call.goes_both_ways(skipped)
    with ng_client(deployment) as again:
        call.call.client = again
        # a re-INVITE after all that: the same certificate, the same association
        if begin is DtlsTalk.begin_by_plain:
            phone.read(call.call.reoffer(alice.describe(), transport_protocol=phone.proto).encode())
            assert [each for each in phone.says if "tls-id" in each or "fingerprint" in each] == [
                each for each in said if "tls-id" in each or "fingerprint" in each
            ]
        call.goes_both_ways()


def test_a_handshake_that_was_interrupted_begins_anew(
    deployment: Deployment, phones: tuple[End, MediaPeer]
) -> None:
    alice, peer = phones
    with ng_client(deployment) as client:
        call = DtlsTalk(NgCall(client), alice, DtlsPhone(peer))
        call.signal_by_plain("active")
        for component in (RTP, RTCP):
            peer.receive(component)  # the first answers of the relay are lost, and the relay dies
    kill_shards(deployment)
    with ng_client(deployment) as again:
        call.call.client = again
        eventually(call.call.is_known, "the call is known again")
        call.phone.begin(client=True)
        call.agrees()
        call.goes_both_ways()
