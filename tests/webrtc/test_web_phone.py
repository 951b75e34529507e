"""The phones of the browser call each other without a relay: what the other tests of WebRTC build on."""

import pytest

from tools.harness.waiting import eventually
from tools.harness.web_phone import CONNECT_S, PhonePage, WebPhone

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


@pytest.mark.parametrize("bundle_policy", ["balanced", "max-bundle"])
def test_two_phones_hear_and_see_each_other(tab: PhonePage, bundle_policy: str) -> None:
    media = ("audio", "video")
    with (
        WebPhone(tab, media, bundle_policy=bundle_policy) as alice,
        WebPhone(tab, media, bundle_policy=bundle_policy) as bob,
    ):
        alice.accept(bob.answer(alice.offer()))
        for phone in (alice, bob):
            eventually(phone.hears, "speech", CONNECT_S)
            eventually(phone.sees, "a picture", CONNECT_S)
            assert len(phone.statistics()["transports"]) == 1
