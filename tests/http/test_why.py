"""What nh tells of a call by its real packets: over HTTP, on the command line, and on the page."""

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from tests.calls.rtp import PCMA, PCMU, rtp_packet
from tests.http.ng_clients import PlainNgClient
from tests.ng.ng_call import End, NgCall
from tests.rtcp import receiver_report, report_block, sender_report
from tests.sip.sdp import MediaLine
from tools.harness.browser import Tab, running_browser
from tools.harness.media_peer import RTCP, MediaPeer
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

A, B = 0xA1A1, 0xB2B2


class Talk:
    """A call of two phones over ng.

    Args:
        client: who asks.
    """

    def __init__(self, client: PlainNgClient) -> None:
        self.call = NgCall(client)
        self.alice, self.bob, self.stranger = End("alice"), End("bob"), End("stranger")
        self._sequence = {self.alice: 0, self.bob: 0}
        self._speaking: dict[End, Callable[[], None]] = {}

    def offer(self, *attributes: str) -> None:
        self.bob.read(self.call.offer([self.line_of(self.alice, *attributes)]))

    def answer(self, *attributes: str, **place: Any) -> None:
        self.alice.read(self.call.answer([self.line_of(self.bob, *attributes, **place)]))

    def connect(self) -> None:
        self.offer()
        self.answer()

    def line_of(self, end: End, *attributes: str, address: str = "", port: int = 0) -> MediaLine:
        medium = end.media[0]
        return MediaLine(address or medium.address, port or medium.port, attributes=attributes)

    def speak(
        self, end: End, count: int = 3, *, payload_type: int = PCMU, sender: End | None = None, step: int = 1
    ) -> None:
        """Packets go from an end, or from a stranger to where it sends."""
        self._speaking[end] = functools.partial(
            self.speak, end, 1, payload_type=payload_type, sender=sender, step=step
        )
        ssrc = A if end is self.alice else B
        for _ in range(count):
            self._sequence[end] += step
            number = self._sequence[end]
            packet = rtp_packet(number, 160 * number, ssrc=ssrc, payload_type=payload_type)
            (sender or end).media[0].send_raw(packet, end.remote[0].target)

    def speak_on(self) -> None:
        """Each end that has spoken sends one more packet of the same kind."""
        for speak in list(self._speaking.values()):
            speak()

    def stop(self, end: End) -> None:
        """An end speaks no more."""
        del self._speaking[end]

    def hear(self, end: End, count: int) -> None:
        """Packets arrive at an end."""
        for _ in range(count):
            end.media[0].receive()

    def report(self, end: End, packet: bytes) -> None:
        """A packet of RTCP goes from an end, and arrives."""
        end.media[0].send_raw(packet, end.remote[0].target, RTCP)
        receiver = self.alice if end is self.bob else self.bob
        receiver.media[0].receive(RTCP)

    def close(self) -> None:
        self.call.delete()
        for end in (self.alice, self.bob, self.stranger):
            end.close()


@pytest.fixture
def talk(address: tuple[str, int]) -> Iterator[Talk]:
    with contextlib.closing(PlainNgClient(address)) as client, contextlib.closing(Talk(client)) as talk:
        yield talk


# --- what happens in each call --------------------------------------------------------------------


def not_answered(talk: Talk) -> None:
    talk.offer()


def held(talk: Talk) -> None:
    talk.connect()
    talk.alice.read(talk.call.reoffer([talk.line_of(talk.alice, "sendonly")]))
    talk.answer("recvonly")
    talk.speak(talk.alice)


def listens_only(talk: Talk) -> None:
    talk.offer()
    talk.answer("recvonly")
    talk.speak(talk.alice)


def music_to_who_sends_only(talk: Talk) -> None:
    talk.offer("sendonly")
    talk.answer()
    talk.speak(talk.alice)
    talk.speak(talk.bob)


def strangers_only(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.stranger.media.append(MediaPeer("127.0.0.9"))
    talk.stranger.media.pop(0).close()
    talk.speak(talk.alice, sender=talk.stranger)


def one_is_silent(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.alice)


def bob_has_closed_his_port(talk: Talk) -> None:
    talk.connect()
    talk.bob.media[0].close()
    talk.speak(talk.alice)


def bob_closes_his_port_in_mid_call(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.speak(talk.alice)
    talk.hear(talk.bob, 3)
    talk.stop(talk.bob)
    talk.bob.media[0].close()
    talk.speak(talk.alice)


def bob_is_nowhere_that_the_host_reaches(talk: Talk) -> None:
    talk.offer()
    talk.answer(address="198.51.100.9", port=40_000)  # from loopback the kernel sends nothing there
    talk.speak(talk.alice)


def bob_has_no_address(talk: Talk) -> None:
    talk.offer()
    talk.answer(address="phone.example.org")
    talk.speak(talk.alice)


def another_codec(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.speak(talk.alice, payload_type=PCMA)


def bob_hears_nothing(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    for _ in range(2):
        talk.speak(talk.alice, 60)
        talk.hear(talk.bob, 60)
        talk.report(talk.bob, sender_report(B, 1))


def half_is_lost_before_the_relay(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.speak(talk.alice, 60, step=2)


def half_is_lost_beyond_the_relay(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.speak(talk.alice, 60)
    talk.hear(talk.bob, 60)
    talk.report(talk.bob, receiver_report(B, report_block(A, lsr=0, fraction_lost=128)))


def both_talk(talk: Talk) -> None:
    talk.connect()
    talk.speak(talk.bob)
    talk.speak(talk.alice)


Scenario = Callable[[Talk], None]

CASES: dict[Scenario, tuple[str, str]] = {
    not_answered: ("waiting", "the call is not answered yet; no packet came"),
    listens_only: ("ok", "N packets came from {alice} and go to {bob}"),
    strangers_only: ("problem", "N packets came to {for_alice} from other addresses and were turned away"),
    one_is_silent: ("ok", "N packets came from {alice} and go to {bob}"),
    bob_has_closed_his_port: ("problem", "N packets were sent to {bob}; ICMP said"),
    bob_closes_his_port_in_mid_call: ("problem", "N packets were sent to {bob}; ICMP said"),
    bob_is_nowhere_that_the_host_reaches: (
        "problem",
        "N packets of N could not be sent to 198.51.100.9:40000",
    ),
    bob_has_no_address: ("problem", "N packets of N were not sent on"),
    another_codec: ("problem", "RTP came with payload type 8 (PCMA), the SDP of the other end allows 0"),
    bob_hears_nothing: (
        "problem",
        "N packets were sent to {bob}, and the latest 2 RTCP reports of that end say that it receives"
        " nothing",
    ),
    half_is_lost_before_the_relay: ("problem", "N RTP packets (49.N%) were lost before the relay"),
    half_is_lost_beyond_the_relay: (
        "problem",
        "N packets were sent to {bob}, whose latest RTCP report says that 50.0% were lost",
    ),
    both_talk: ("ok", "N packets came from {alice} and go to {bob}"),
}
"""What is told of what Alice sends; N is any number."""

FROM_BOB: dict[Scenario, tuple[str, str]] = {
    held: ("waiting", "the media are on hold (its SDP says recvonly, that of the other end sendonly)"),
    listens_only: ("waiting", "the SDP of this end says recvonly, so it sends nothing"),
    music_to_who_sends_only: ("waiting", "the SDP of the other end says sendonly, so it plays nothing"),
    one_is_silent: ("problem", "nothing came to {for_bob} from {bob}"),
}
"""What is told of what Bob sends."""


def endpoint(target: tuple[str, int]) -> str:
    return f"{target[0]}:{target[1]}"


def verdict_on(client: httpx.Client, talk: Talk, sender: str = "from") -> dict[str, Any]:
    """The verdict on what one end sends, while both go on with what they do."""
    talk.speak_on()
    verdicts = client.get(f"/api/why/{talk.call.call_id}").json()["verdicts"]
    return next(each for each in verdicts if each["sender"] == sender)


def wait_for_verdict(client: httpx.Client, talk: Talk, sender: str, found: str) -> dict[str, Any]:
    """The verdict, as soon as it says that; N in `found` is any number."""
    pattern = re.escape(found).replace("N", r"\d+")

    def judged() -> dict[str, Any]:
        verdict = verdict_on(client, talk, sender)
        return verdict if re.search(pattern, verdict["found"]) else {}

    return eventually(judged, found, details=lambda: verdict_on(client, talk, sender)["found"])


def run_why(relay: Relay, talk: Talk, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nh", "why", talk.call.call_id, "--runtime-dir", str(relay.directory)]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=150, check=False)


@pytest.mark.parametrize(
    ("scenario", "sender", "expected"),
    [
        pytest.param(scenario, sender, expected, id=f"{scenario.__name__}-{sender}")
        for sender, cases in (("from", CASES), ("to", FROM_BOB))
        for scenario, expected in cases.items()
    ],
)
def test_each_verdict_comes_from_what_the_phones_do(
    client: httpx.Client, talk: Talk, scenario: Scenario, sender: str, expected: tuple[str, str]
) -> None:
    bob = talk.line_of(talk.bob).target  # before the scenario closes his port
    scenario(talk)
    places = {"alice": endpoint(talk.line_of(talk.alice).target), "bob": endpoint(bob)}
    for name, end in (("for_alice", talk.alice), ("for_bob", talk.bob)):
        places[name] = endpoint(end.remote[0].target) if end.remote else ""
    state, found = expected
    verdict = wait_for_verdict(client, talk, sender, found.format(**places))
    assert verdict["state"] == state
    assert bool(verdict["cause"]) is bool(verdict["remedy"]) is (state == "problem")


def test_text_and_json_say_the_same_and_the_status_tells_a_problem(
    relay: Relay, client: httpx.Client, talk: Talk
) -> None:
    one_is_silent(talk)
    alice, bob = (endpoint(talk.line_of(end).target) for end in (talk.alice, talk.bob))
    wait_for_verdict(client, talk, "from", f"came from {alice}")
    wait_for_verdict(client, talk, "to", "nothing came to")

    def say_the_same() -> bool:
        talk.speak_on()
        text, as_json = run_why(relay, talk), run_why(relay, talk, "--json")
        assert text.returncode == as_json.returncode == 3
        verdict = next(each for each in json.loads(as_json.stdout)["verdicts"] if each["sender"] == "to")
        assert (verdict["announced"], verdict["seen"], verdict["sent_to"]) == (bob, None, alice)
        assert f"announced {bob}, seen nothing, sent to {alice}" in text.stdout
        return all(verdict[said] in text.stdout for said in ("found", "cause", "remedy", "filter"))

    eventually(say_the_same, "both say the same")  # on a busy host Alice may fall silent between the two


@pytest.mark.full
def test_a_phone_that_stops_is_told_by_the_time_since(client: httpx.Client, talk: Talk) -> None:
    both_talk(talk)
    talk.stop(talk.alice)
    eventually(
        lambda: "s ago, and none since" in verdict_on(client, talk)["found"],
        "the silence is told",
        timeout_s=30,
    )


@pytest.mark.full
def test_packets_that_did_not_fit_are_told(client: httpx.Client, relay: Relay, talk: Talk) -> None:
    both_talk(talk)
    shards = relay.shard_processes()
    for shard in shards:
        shard.suspend()
    try:
        talk.speak(talk.alice, 4000)
    finally:
        for shard in shards:
            shard.resume()
    wait_for_verdict(client, talk, "from", "did not fit into the receive buffer")


@pytest.mark.chromium
@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_page_tells_each_problem_with_its_cause(address: tuple[str, int], client: httpx.Client) -> None:
    host, port = address
    scenarios = (another_codec, bob_hears_nothing, bob_has_closed_his_port, half_is_lost_beyond_the_relay)
    with running_browser(shutil.which("chromium") or "") as tab, contextlib.ExitStack() as stack:
        for scenario in scenarios:
            talk = Talk(stack.enter_context(contextlib.closing(PlainNgClient(address))))
            stack.callback(talk.close)
            scenario(talk)
            verdict = wait_for_verdict(client, talk, "from", CASES[scenario][1].split("{bob}")[-1])
            told = [verdict[said] for said in ("cause", "remedy", "filter")]
            told.append(f"sent to {verdict['sent_to']}")
            url = f"http://{host}:{port}/#/call/{talk.call.call_id}"
            # a busy host may show the page when the call has been silent for a while
            eventually(functools.partial(page_tells, tab, url, talk, told), f"the page tells {told}")
        assert tab.problems == []


def page_tells(tab: Tab, url: str, talk: Talk, told: Sequence[str]) -> bool:
    """Whether the page says all that of a call whose ends have just spoken."""
    talk.speak_on()
    tab.open("about:blank")
    tab.open(url)
    tab.wait_for("document.querySelectorAll('#call .verdicts .card').length === 2")
    text = tab.value("document.getElementById('call').innerText")
    return all(each in text for each in told)
