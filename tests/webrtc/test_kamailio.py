"""A browser and a plain phone call each other through Kamailio, with the configuration of the how-to page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ng.kamailio import DOCUMENT, NODES, Kamailio, running_documented
from tests.ng.relays import NgRelay, running_nh
from tests.webrtc.bundle_phone import AUDIO, VIDEO
from tests.webrtc.echo_phone import EchoPhone
from tests.webrtc.sip_phones import EchoSipPhone, Proxy, WebSipPhone
from tools.harness.ports import free_port
from tools.harness.waiting import eventually
from tools.harness.web_phone import CONNECT_S, PhonePage, WebPhone

pytestmark = [
    pytest.mark.kamailio_websocket,
    pytest.mark.full,
    pytest.mark.timeout(300),
]

PAGE = DOCUMENT.with_name("webrtc.md")
LISTEN_WEB = "listen=tcp:192.0.2.10:8080"


@pytest.fixture(scope="module")
def relay() -> Iterator[NgRelay]:
    with running_nh() as relay:
        yield relay


@pytest.fixture(scope="module")
def web() -> Proxy:
    """A free port of TCP."""
    return ("127.0.0.1", free_port())


@pytest.fixture(scope="module")
def kamailio(relay: NgRelay, web: Proxy) -> Iterator[Kamailio]:
    host, port = relay.address
    changes = {NODES: f"udp:{host}:{port}", LISTEN_WEB: f"listen=tcp:{web[0]}:{web[1]}"}
    with running_documented(Path(PAGE), changes) as running:
        yield running


def talk(browser: WebPhone, echo: EchoPhone) -> None:
    """Speech and pictures arrive at both ends."""
    eventually(browser.hears, "speech at the browser", CONNECT_S)
    eventually(browser.sees, "a picture at the browser", CONNECT_S)
    for medium in (AUDIO, VIDEO):
        assert echo.heard(medium).packets


def test_a_browser_calls_a_plain_phone(kamailio: Kamailio, web: Proxy, tab: PhonePage) -> None:
    with (
        WebPhone(tab, ("audio", "video"), bundle_policy="max-bundle") as browser,
        EchoPhone() as echo,
        WebSipPhone(kamailio.near, web) as caller,
        EchoSipPhone(echo, kamailio.near) as callee,
    ):
        caller.sdp = browser.offer()
        caller.invite(callee)
        invite = callee.receive_request("INVITE")
        assert "BUNDLE" not in invite.body
        callee.answer(invite, 200, sdp=True)
        caller.ack(caller.receive_response(200))
        callee.receive_request("ACK")
        browser.accept(caller.got)
        talk(browser, echo)
        assert len(browser.statistics()["transports"]) == 1
        callee.bye()
        caller.answer(caller.receive_request("BYE"), 200)
        callee.receive_response(200, "BYE")


def test_a_plain_phone_calls_a_browser(kamailio: Kamailio, web: Proxy, tab: PhonePage) -> None:
    with (
        WebPhone(tab, ("audio", "video")) as browser,
        EchoPhone() as echo,
        EchoSipPhone(echo, kamailio.near) as caller,
        WebSipPhone(kamailio.near, web) as callee,
    ):
        callee.register()
        caller.invite(callee, at=f"sip:web@{kamailio.near[0]}:{kamailio.near[1]}")
        invite = callee.receive_request("INVITE")
        callee.sdp = browser.answer(invite.body)
        callee.answer(invite, 200, sdp=True)
        caller.ack(caller.receive_response(200))
        callee.receive_request("ACK")
        talk(browser, echo)
        assert len(browser.statistics()["transports"]) == 1
        callee.bye()
        caller.answer(caller.receive_request("BYE"), 200)
        callee.receive_response(200, "BYE")
