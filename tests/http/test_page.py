"""The live page in a real browser, on a screen and at a phone's width."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.ng_clients import PostNgClient
from tests.ng.client import JSON
from tests.ng.ng_call import SDP
from tools.harness.browser import Tab, running_browser, save
from tools.harness.call import RelayedCall
from tools.harness.http import http_address
from tools.harness.relay import Relay, running_relay

pytestmark = [pytest.mark.chromium, pytest.mark.full, pytest.mark.timeout(300)]

ALL_CALLS = "document.querySelectorAll('#calls tbody tr').length >= 10"
LINKS = "[...document.querySelectorAll('#calls a')]"
BUTTONS = "[...document.querySelectorAll('#calls th button')]"

SCREEN, PHONE = 1280, 390
"""Widths in pixels."""

WHICH = "document.getElementById('which')"

BROWSER_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 40000 UDP/TLS/RTP/SAVPF 0\r\n"
    "c=IN IP4 127.0.0.1\r\na=rtpmap:0 PCMU/8000\r\na=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=sendrecv\r\n"
)

HOSTILE = b"<img src=x onerror=document.title='owned'>\x00\x1b[31m\xe2\x80\xae"
NOT_TEXT = b"\xff\xfe/../ not text"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with running_browser(shutil.which("chromium") or "") as tab:
        yield tab


@pytest.fixture(scope="module")
def calls(relay: Relay) -> Iterator[list[RelayedCall]]:
    """Calls with media, two of them with hostile call-ids."""
    with contextlib.ExitStack() as stack:
        names = [HOSTILE, NOT_TEXT, *(b"%04d@phones.example.org" % number for number in range(8))]
        made = [stack.enter_context(RelayedCall(relay.unix_address, name)) for name in names]
        for call in made:
            stack.callback(call.end)
            call.talk()
        yield made


@pytest.fixture
def url(relay: Relay) -> str:
    host, port = http_address(relay)
    return f"http://{host}:{port}/"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures are kept: NH_PICTURES, so that people can look at them, or nowhere for long."""
    return Path(os.environ.get("NH_PICTURES", tmp_path))


def rows_of(tab: Tab, table: str) -> list[list[str]]:
    cells = "[...row.cells].map((cell) => cell.textContent)"
    rows: list[list[str]] = tab.value(
        f"[...document.querySelectorAll('#{table} tbody tr')].map((row) => {cells})"
    )
    return rows


def test_the_page_on_a_screen(tab: Tab, url: str, calls: list[RelayedCall], pictures: Path) -> None:
    overview(tab, url, calls)
    save(tab.picture(), pictures, "overview-screen")
    hostile_call_ids_are_text_and_lead_to_their_calls(tab)
    save(tab.picture(), pictures, "call-screen")
    calls_are_searched_and_sorted(tab, url)
    assert tab.value("document.title") == "nh"
    assert_no_problems(tab)
    tab.open(f"{url}#/call/gone")
    tab.wait_for("document.getElementById('call').innerText.includes('no call has this call-id')")


def test_numbers_are_short(tab: Tab, url: str) -> None:
    tab.open(url)
    tab.wait_for("typeof count === 'function'")  # the script has run
    numbers = "0, 0.5, 14.72, 3703.4, 9999, 9999.7, 12345, 999600, 1234567, 2345678901"
    shown = ["0", "0.5", "14.7", "3703", "9999", "10k", "12.3k", "1M", "1.23M", "2.35G"]
    assert tab.value(f"[{numbers}].map(count)") == shown


def test_the_page_on_a_phone(tab: Tab, url: str, calls: list[RelayedCall], pictures: Path) -> None:
    overview(tab, url, calls, width=PHONE)
    save(tab.picture(), pictures, "overview-phone")
    tab.value("location.hash = '#/call/0003%40phones.example.org'")
    tab.wait_for("document.querySelectorAll('#call .leg').length >= 4")
    assert_nothing_is_cut_off(tab)
    save(tab.picture(), pictures, "call-phone")
    assert_no_problems(tab)


@pytest.fixture
def full_relay() -> Iterator[Relay]:
    """A relay with room for one call, whose shard measures its limits once a second."""
    with running_relay(
        shards=1, max_calls=1, http="127.0.0.1:0", http_ng=True, address="127.0.0.1", silent_s=3600
    ) as relay:
        yield relay


def test_calls_that_have_ended_limits_and_secure_media(tab: Tab, full_relay: Relay, pictures: Path) -> None:
    with RelayedCall(full_relay.unix_address, b"ended@phones") as call:
        call.alice.send(b"hello", call.for_alice)
        call.bob.receive()
        call.end()
    host, port = http_address(full_relay)
    with PostNgClient((host, port), JSON) as client:
        offer = {
            "call_id": "browser@phones",
            "from_tag": "f",
            "ICE": "remove",
            "transport_protocol": "RTP/AVP",
        }
        client.get("offer", sdp=BROWSER_SDP, **offer)
        client.get("answer", call_id="browser@phones", from_tag="f", to_tag="t", sdp=SDP)
        tab.open("about:blank")
        tab.open(f"http://{host}:{port}/")
        said = "new calls are refused: max_calls (1 of 1 shards)"
        tab.wait_for(f"document.getElementById('state').textContent.endsWith('{said}')")
        tab.wait_for("document.querySelector('#shards tbody').innerText.includes('max_calls')")
        assert rows_of(tab, "shards")[0][:5] == ["0", "up", "1", "100 %", "max_calls"]
        tab.wait_for(f"{LINKS}.length === 1")
        (row,) = rows_of(tab, "calls")
        assert row[0] == "browser@phones"
        assert row[1] in ("waiting", "silent")
        tab.value(f"{LINKS}[0].click()")
        tab.wait_for("document.querySelectorAll('#call .leg').length >= 4")
        text = tab.value("document.getElementById('call').innerText")
        assert "no check has passed" in text
        assert "no keys yet" in text
        assert "set up by\tng offer of " in text
        assert_nothing_is_cut_off(tab)
        save(tab.picture(), pictures, "call-secure")
        tab.value("location.hash = '#/'")
        tab.value(f"{WHICH}.value = 'ended=true'; {WHICH}.dispatchEvent(new Event('change'))")
        tab.wait_for(f"{LINKS}.some((link) => link.textContent === 'ended@phones')")
        (row,) = rows_of(tab, "calls")
        assert (row[3], row[4]) == ("closed", "native close")
        save(tab.picture(), pictures, "ended")
        tab.value(f"{LINKS}[0].click()")
        tab.wait_for("document.getElementById('call').innerText.includes('Call that has ended')")
        text = tab.value("document.getElementById('call').innerText")
        assert "came from 127.0.0.1:" in text
        assert "latched · port" in text
        assert "s before the end" in text
        assert " ago" not in text
        assert "tcpdump -nr FILE 'udp and (port " in text
        assert_nothing_is_cut_off(tab)
        save(tab.picture(), pictures, "call-ended")
    assert_no_problems(tab)


def overview(tab: Tab, url: str, calls: list[RelayedCall], width: int = SCREEN) -> None:
    tab.open("about:blank")
    tab.open(url, width=width, phone=width == PHONE)
    tab.wait_for(ALL_CALLS)
    tab.wait_for("document.querySelectorAll('#figures .figure').length >= 5")
    tab.wait_for("document.querySelectorAll('.chart canvas').length >= 6")
    for call in calls:
        call.talk()
    tab.wait_for("charts[0].data[0].length >= 3")
    tab.wait_for("document.getElementById('state').textContent.startsWith('ready, up for ')")
    assert [row[:2] for row in rows_of(tab, "shards")] == [["0", "up"], ["1", "up"]]
    assert_nothing_is_cut_off(tab)


def hostile_call_ids_are_text_and_lead_to_their_calls(tab: Tab) -> None:
    shown = [row[0] for row in rows_of(tab, "calls")]
    assert r"<img src=x onerror=document.title='owned'>\u{0}\u{1b}[31m\u{202e}" in shown
    assert r"\xff\xfe/../\x20not\x20text" in shown
    assert tab.value("document.images.length") == 0
    for part in ("img src", r"\\xff"):
        tab.value("location.hash = '#/'")
        tab.wait_for(ALL_CALLS)
        tab.value(f"{LINKS}.find((link) => link.textContent.includes('{part}')).click()")
        tab.wait_for("document.querySelectorAll('#call .leg').length >= 4")
        text = tab.value("document.getElementById('call').innerText")
        assert "127.0.0.1:" in text
        assert "latched" in text
        assert "came from 127.0.0.1:" in text


def calls_are_searched_and_sorted(tab: Tab, url: str) -> None:
    tab.open("about:blank")
    tab.open(url)
    tab.wait_for(ALL_CALLS)
    tab.value(
        "(() => { const box = document.getElementById('contains'); box.value = 'phones.example';"
        " box.dispatchEvent(new Event('input')); })()"
    )
    tab.wait_for("document.getElementById('found').textContent === '8 found'")
    tab.value(f"{BUTTONS}[0].click()")
    names = [f"{number:04}@phones.example.org" for number in range(7, -1, -1)]
    assert [row[0] for row in rows_of(tab, "calls")] == names


def assert_no_problems(tab: Tab) -> None:
    assert [problem for problem in tab.problems if "/api/calls/gone" not in problem] == []


def assert_nothing_is_cut_off(tab: Tab) -> None:
    assert tab.value("document.documentElement.scrollWidth <= window.innerWidth")
