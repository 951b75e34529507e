"""A browser and a plain phone talk through the relay: DTLS, ICE, a bundle on one side, none on the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.ng.ng_call import NgCall
from tests.survival.faults import kill_shards, kill_supervisor, ng_client, take_over, upgrade
from tests.webrtc.bundle_phone import AUDIO, VIDEO
from tests.webrtc.echo_phone import EchoPhone
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.waiting import eventually
from tools.harness.web_phone import CONNECT_S, PhonePage, WebPhone

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

TO_PLAIN: dict[str, Any] = {
    "transport_protocol": "RTP/AVP",
    "ICE": "remove",
    "rtcp_mux": ["demux"],
    "flags": ["trust-address"],
}
TO_BROWSER: dict[str, Any] = {"flags": ["trust-address", "WebRTC"]}
APART: dict[str, Any] = {**TO_BROWSER, "bundle": ["reject"]}

RESTARTS = 2

MORE = 50
"""Packets of each medium after which it goes on: a second of speech."""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1,pub/::1") as deployment:
        deployment.start()
        yield deployment


class WebCall:
    """A call between a phone of a browser and one that sends back what it gets."""

    def __init__(self, call: NgCall, web: WebPhone, plain: EchoPhone) -> None:
        self.call = call
        self.web = web
        self.plain = plain

    def begin_by_web(self, kinds: Sequence[str] = ()) -> str:
        """The browser calls; returns the answer that it gets."""
        offer = self.call.offer(self.web.offer(kinds), **TO_PLAIN)
        answer = self.call.answer(self.plain.answer(offer), **TO_BROWSER)
        self.web.accept(answer)
        return answer

    def begin_by_plain(self, flags: dict[str, Any]) -> str:
        """The plain phone calls; returns the answer of the browser."""
        answer = self.web.answer(self.call.offer(self.plain.sdp(), **flags))
        self.call.answer(answer, **TO_PLAIN)
        return answer

    def offer_again(self, **options: Any) -> str:
        """A re-INVITE of the browser; returns the answer that it gets."""
        offer = self.call.reoffer(self.web.offer(**options), **TO_PLAIN)
        answer = self.call.answer(self.plain.answer(offer), **TO_BROWSER)
        self.web.accept(answer)
        return answer

    def goes_on(self, kinds: Sequence[str] = ("audio", "video")) -> None:
        """Each medium arrives at both ends, more of it than before."""
        for medium, kind in enumerate(("audio", "video")):
            if kind in kinds:
                self._goes_on(medium, kind)

    def _goes_on(self, medium: int, kind: str) -> None:
        heard, received = self.plain.heard(medium).packets, self.web.received(kind).packets
        eventually(
            lambda medium=medium, heard=heard: self.plain.heard(medium).packets > heard + MORE,  # type: ignore[misc]
            f"more {kind} at the plain phone",
            CONNECT_S,
            details=self.explain,
        )
        eventually(
            lambda kind=kind, received=received: self.web.received(kind).packets > received + MORE,  # type: ignore[misc]
            f"more {kind} at the browser",
            CONNECT_S,
            details=self.explain,
        )

    def is_heard_and_seen(self) -> None:
        """The browser plays what comes, and nothing is lost on the way."""
        eventually(self.web.hears, "speech", CONNECT_S, details=self.explain)
        eventually(self.web.sees, "a picture", CONNECT_S, details=self.explain)

    def explain(self) -> str:
        """For a failure: what the ends know."""
        heard = [self.plain.heard(medium) for medium in (AUDIO, VIDEO)]
        return f"{heard}\n{self.web.statistics()}\n{self.call.query()}"


@pytest.mark.parametrize("policy", ["balanced", "max-bundle"])
def test_a_browser_calls_a_plain_phone(deployment: Deployment, tab: PhonePage, policy: str) -> None:
    with (
        ng_client(deployment) as client,
        WebPhone(tab, ("audio", "video"), bundle_policy=policy) as web,
        EchoPhone() as plain,
    ):
        call = WebCall(NgCall(client), web, plain)
        assert "a=group:BUNDLE 0 1" in call.begin_by_web()
        call.goes_on()
        call.is_heard_and_seen()
        assert len(web.statistics()["transports"]) == 1
        eventually(lambda: plain.heard(VIDEO).reports, "RTCP of the browser")
        call.call.delete()


@pytest.mark.parametrize(
    ("flags", "policy", "transports"),
    [(APART, "balanced", 2), (TO_BROWSER, "balanced", 1), (TO_BROWSER, "max-bundle", 1)],
    ids=["apart", "bundle", "max-bundle"],
)
def test_a_plain_phone_calls_a_browser(
    deployment: Deployment, tab: PhonePage, flags: dict[str, Any], policy: str, transports: int
) -> None:
    with (
        ng_client(deployment) as client,
        WebPhone(tab, ("audio", "video"), bundle_policy=policy) as web,
        EchoPhone() as plain,
    ):
        call = WebCall(NgCall(client), web, plain)
        call.begin_by_plain(flags)
        call.goes_on()
        call.is_heard_and_seen()
        assert len(web.statistics()["transports"]) == transports
        call.call.delete()


def test_the_browser_goes_over_the_candidate_that_it_reaches(deployment: Deployment, tab: PhonePage) -> None:
    """Over IPv6 first, and over IPv4 after a change of its network, which it tells by another offer."""
    with ng_client(deployment) as client, WebPhone(tab, ("audio",)) as web, EchoPhone() as plain:
        call = WebCall(NgCall(client), web, plain)
        for restart, unreachable in ((False, " 127.0.0.1 "), (True, " ::1 ")):
            relay = call.call.reoffer if restart else call.call.offer
            offer = relay(web.offer(["audio"], ice_restart=restart), **TO_PLAIN)
            answer = call.call.answer(plain.answer(offer), **TO_BROWSER)
            lines = answer.splitlines(keepends=True)
            assert len([line for line in lines if line.startswith("a=candidate:")]) == 2
            web.accept(
                "".join(line for line in lines if not (line[:12] == "a=candidate:" and unreachable in line))
            )
            call.goes_on(["audio"])
        call.call.delete()


def assert_stayed_connected(states: Sequence[str]) -> None:
    assert not [state for state in states if "disconnected" in state or "failed" in state]


def test_media_come_and_go_and_the_path_is_chosen_anew(deployment: Deployment, tab: PhonePage) -> None:
    with ng_client(deployment) as client, WebPhone(tab, ("audio", "video")) as web, EchoPhone() as plain:
        call = WebCall(NgCall(client), web, plain)
        call.begin_by_web(["audio"])
        call.goes_on(["audio"])
        assert "a=group:BUNDLE 0 1" in call.offer_again()
        call.goes_on()
        call.is_heard_and_seen()
        before = len(web.states())
        assert_stayed_connected(web.states())
        call.offer_again(ice_restart=True)
        call.goes_on()
        # while it leaves its ports for others, a browser may say for an instant that it is disconnected
        eventually(lambda: web.states()[-1] == "connected connected", "the browser is connected again")
        assert not [state for state in web.states()[before:] if "failed" in state]
        before = len(web.states())
        web.stop("audio")
        assert "a=group:BUNDLE 1" in call.offer_again(kinds=["video"])
        call.goes_on(["video"])
        assert_stayed_connected(web.states()[before:])
        call.call.delete()


@pytest.mark.parametrize("happen", [kill_shards, upgrade, take_over, kill_supervisor])
def test_the_browser_notices_nothing_of_a_restart(
    deployment: Deployment, tab: PhonePage, happen: Callable[[Deployment], None]
) -> None:
    with WebPhone(tab, ("audio", "video")) as web, EchoPhone() as plain:
        with ng_client(deployment) as client:
            call = WebCall(NgCall(client), web, plain)
            call.begin_by_web()
            call.goes_on()
            call.is_heard_and_seen()
        states = web.states()
        for _ in range(RESTARTS):
            happen(deployment)
            with ng_client(deployment) as again:
                call.call.client = again
                eventually(call.call.is_known, "the call is known again")
                call.goes_on()
        assert web.states() == states, "neither ICE nor DTLS has begun again"
        # a shard that is killed between reading a packet and sending it takes that one along
        most_lost = RESTARTS if happen is kill_shards else 0
        assert sum(plain.heard(medium).lost for medium in (AUDIO, VIDEO)) <= most_lost
        assert sum(web.received(kind).lost for kind in ("audio", "video")) <= most_lost
        with ng_client(deployment) as again:
            call.call.client = again
            call.call.delete()
