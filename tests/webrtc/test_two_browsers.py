"""Firefox and Chromium call each other through the relay: DTLS passes, ICE passes or ends here."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ng.ng_call import NgCall
from tests.survival.faults import kill_shards, ng_client
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.waiting import eventually
from tools.harness.web_phone import CONNECT_S, PhonePage, WebPhone

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.firefox,
    pytest.mark.full,
    pytest.mark.timeout(300),
]

MEDIA = ("audio", "video")
THROUGH: dict[str, Any] = {}
ICE_ENDS_HERE: dict[str, Any] = {"ICE": "force"}

MORE = 25
"""Packets of each medium after which it goes on."""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1") as deployment:
        deployment.start()
        yield deployment


def goes_on(one: WebPhone, other: WebPhone) -> None:
    """More of each medium than before arrives at both, and is played."""
    for phone, kind in ((phone, kind) for phone in (one, other) for kind in MEDIA):
        before = phone.received(kind).packets
        eventually(
            lambda phone=phone, kind=kind, before=before: phone.received(kind).packets > before + MORE,  # type: ignore[misc]
            f"more {kind}",
            CONNECT_S,
            details=lambda phone=phone: str(phone.statistics()),  # type: ignore[misc]
        )
    for phone in (one, other):
        eventually(phone.hears, "speech", CONNECT_S)
        eventually(phone.sees, "a picture", CONNECT_S)


@pytest.mark.parametrize("flags", [THROUGH, ICE_ENDS_HERE], ids=["through", "ICE ends here"])
@pytest.mark.parametrize("caller", ["firefox", "chromium"])
def test_firefox_and_chromium_call_each_other(
    deployment: Deployment, firefox: PhonePage, chromium: PhonePage, caller: str, flags: dict[str, Any]
) -> None:
    pages = (firefox, chromium) if caller == "firefox" else (chromium, firefox)
    with (
        ng_client(deployment) as client,
        WebPhone(pages[0], MEDIA) as alice,
        WebPhone(pages[1], MEDIA) as bob,
    ):
        call = NgCall(client)
        alice.accept(call.answer(bob.answer(call.offer(alice.offer(), **flags)), **flags))
        goes_on(alice, bob)
        for phone in (alice, bob):
            assert len(phone.statistics()["transports"]) == 1
        states = alice.states(), bob.states()
        kill_shards(deployment)
        goes_on(alice, bob)
        assert (alice.states(), bob.states()) == states, "neither ICE nor DTLS has begun again"
    with ng_client(deployment) as client:
        call.client = client
        call.delete()
