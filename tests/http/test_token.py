"""The token: what changes anything over HTTP needs it, and nothing shows it."""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message

from nh.config.sources import load_settings
from nh.errors import ConfigError
from nh.http.limits import MAX_WRONG_CLIENTS, MAX_WRONG_TOKENS, WRONG_TOKENS_S
from nh.http.token import TokenCheck
from nh.supervisor.http import MIN_TOKEN, check_http
from tools.harness.browser import running_browser
from tools.harness.call import RelayedCall
from tools.harness.http import http_address, http_client
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

TOKEN = "5f2b7a-token-of-the-tests-91c4"
WRONG = "5f2b7a-token-of-the-tests-91c5"
DIGEST = hashlib.sha256(TOKEN.encode()).digest()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# --- without a token ------------------------------------------------------------------------------


def test_without_a_token_http_is_read_only_and_says_how_to_have_one(
    relay: Relay, client: httpx.Client
) -> None:
    with RelayedCall(relay.unix_address) as call:
        for path in (f"/api/calls/{call.call_id.decode()}/close", "/api/drain", "/api/undrain"):
            for headers in ({}, bearer(TOKEN)):
                reply = client.post(path, headers=headers)
                assert reply.status_code == 403
                assert reply.json()["error"]["code"] == "read_only"
                assert "--http-token-file" in reply.json()["error"]["message"]
        assert client.get(f"/api/calls/{call.call_id.decode()}").status_code == 200
        call.end()


# --- the check alone -------------------------------------------------------------------------------


class Checked:
    """A TokenCheck before an application that serves everything."""

    def __init__(self, digest: bytes = DIGEST, *, private: bool = False) -> None:
        self.now = 1000.0
        self.check = TokenCheck(PlainTextResponse("ok"), digest=digest, private=private, now=lambda: self.now)

    def ask(
        self,
        path: str,
        token: str | None = None,
        *,
        method: str = "POST",
        client: str = "192.0.2.1",
        **raw: Any,
    ) -> int:
        """The status of a request."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode("latin-1"))]
        headers = [(b"authorization", raw["header"])] if "header" in raw else headers
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": (client, 9)}
        asyncio.run(self.check(scope, receive, send))
        return int(sent[0]["status"])


def test_a_change_needs_the_right_token() -> None:
    checked = Checked()
    assert checked.ask("/api/drain", TOKEN) == 200
    assert (
        checked.ask("/api/drain") == checked.ask("/api/drain", WRONG) == checked.ask("/api/drain", "") == 401
    )
    assert checked.ask("/api/drain", header=b"bearer " + TOKEN.encode()) == 200
    assert checked.ask("/api/drain", header=b"Basic " + TOKEN.encode()) == 401
    assert checked.ask("/api/x", method="DELETE") == 401, "any method that is no GET"


@pytest.mark.parametrize("path", ["/api/stats", "/metrics", "/api/calls/x"])
def test_reading_needs_it_only_if_the_settings_say_so(path: str) -> None:
    assert Checked().ask(path, method="GET") == 200
    assert Checked(private=True).ask(path, method="GET") == 401
    assert Checked(private=True).ask(path, TOKEN, method="HEAD") == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/healthz", "/readyz"])
def test_health_and_the_files_of_the_page_are_for_all(path: str) -> None:
    assert Checked(private=True).ask(path, method="GET") == 200


def test_wrong_tokens_lock_their_client_out_for_a_time_and_no_other() -> None:
    checked = Checked()
    assert [checked.ask("/api/drain", WRONG) for _ in range(MAX_WRONG_TOKENS + 1)] == [
        *[401] * MAX_WRONG_TOKENS,
        429,
    ]
    assert checked.ask("/api/drain", TOKEN) == 429, "or guessing would go on"
    assert checked.ask("/api/drain", TOKEN, client="192.0.2.2") == 200
    assert checked.ask("/api/stats", method="GET") == 200
    checked.now += WRONG_TOKENS_S + 1
    assert checked.ask("/api/drain", TOKEN) == 200
    assert checked.check.wrong == MAX_WRONG_TOKENS


def test_a_host_has_one_count_for_all_its_ipv6_addresses() -> None:
    checked = Checked()
    for number in range(MAX_WRONG_TOKENS):
        checked.ask("/api/drain", WRONG, client=f"2001:db8::{number + 1:x}")
    assert checked.ask("/api/drain", TOKEN, client="2001:db8::ffff") == 429
    assert checked.ask("/api/drain", TOKEN, client="2001:db8:0:1::1") == 200


def test_what_is_remembered_of_clients_is_bounded() -> None:
    checked = Checked()
    for number in range(MAX_WRONG_CLIENTS + 50):
        checked.ask("/api/drain", WRONG, client=f"10.0.{number >> 8}.{number & 255}")
    assert len(checked.check._wrong_by_client) == MAX_WRONG_CLIENTS


@given(st.binary(max_size=200))
def test_any_header_that_is_not_the_token_is_refused(header: bytes) -> None:
    assert Checked().ask("/api/drain", header=header) == 401


# --- a relay with a token -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def guarded(token_file: Path) -> Iterator[Relay]:
    """A relay whose metrics and API are for those who have the token."""
    settings: dict[str, Any] = {"http_token_file": token_file, "http_private": True, "log_level": "debug"}
    with running_relay(http="127.0.0.1:0", silent_s=3600, **settings) as relay:
        yield relay
        assert TOKEN not in relay.program.output
        assert WRONG not in relay.program.output


@pytest.fixture
def stranger(guarded: Relay) -> Iterator[httpx.Client]:
    with http_client(guarded) as client:
        yield client


@pytest.fixture
def operator(guarded: Relay) -> Iterator[httpx.Client]:
    with http_client(guarded) as client:
        client.headers.update(bearer(TOKEN))
        yield client


@pytest.mark.parametrize("call_id", [b"plain@example.org", b"a/close", b"\xff\x00 /../#?", b"x" * 5000])
def test_a_call_is_closed_whatever_its_call_id(
    guarded: Relay, operator: httpx.Client, stranger: httpx.Client, call_id: bytes
) -> None:
    with RelayedCall(guarded.unix_address, call_id) as call:
        url = f"/api/calls/{quote(call.call_id, safe='')}/close"
        assert stranger.post(url).status_code == 401
        assert guarded.calls(call_id).calls
        reply = operator.post(url)
        assert (reply.status_code, reply.json()["closed"]) == (200, 1)
        guarded.wait_until_gone(call_id)
        assert operator.post(url).status_code == 404
    guarded.program.wait_for_line("closed over HTTP by 127.0.0.1")


def test_a_drain_begins_and_ends(guarded: Relay, operator: httpx.Client, stranger: httpx.Client) -> None:
    assert stranger.post("/api/drain").status_code == 401
    with RelayedCall(guarded.unix_address) as call:  # with the last call nh would end
        eventually(lambda: operator.get("/api/stats").json()["totals"]["calls"], "the call is counted")
        drained = operator.post("/api/drain", json={"limit_s": 3600})
        assert drained.status_code == 200, drained.text
        assert drained.json()["draining"] is True
        assert 3590 < drained.json()["limit_s"] < 3601, "what is left, as a difference of two clocks says it"
        assert operator.post("/api/undrain").json()["draining"] is False
        call.end()
    eventually(lambda: operator.get("/readyz").status_code == 200, "it is ready again")


@pytest.mark.parametrize(
    "body", [b"{", b'{"limit_s": -1}', b'{"limits": 1}', b"[]", b"\xff", b" " * 5000, b'{"limit_s": 1e99}']
)
def test_a_body_that_cannot_be_read_changes_nothing(operator: httpx.Client, body: bytes) -> None:
    assert operator.post("/api/drain", content=body).status_code == 400
    assert operator.get("/readyz").status_code == 200


def test_a_web_page_of_another_site_changes_nothing(operator: httpx.Client) -> None:
    assert operator.post("/api/drain", headers={"origin": "http://evil.example"}).status_code == 403
    assert operator.get("/readyz").status_code == 200


def wrong_tokens(operator: httpx.Client) -> float:
    found = re.search(r"^nh_http_wrong_tokens_total (\S+)$", operator.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_reading_needs_the_token_and_wrong_ones_are_counted(
    operator: httpx.Client, stranger: httpx.Client
) -> None:
    for path in ("/metrics", "/api/stats", "/api/calls"):
        assert stranger.get(path).status_code == 401
        assert stranger.get(path).headers["www-authenticate"] == "Bearer"
        assert operator.get(path).status_code == 200
    before = wrong_tokens(operator)
    assert stranger.get("/api/stats", headers=bearer(WRONG)).status_code == 401
    assert wrong_tokens(operator) == before + 1


def test_nh_config_shows_the_file_and_not_the_token(token_file: Path) -> None:
    environment = {**os.environ, "NH_HTTP": "127.0.0.1:0", "NH_HTTP_TOKEN_FILE": str(token_file)}
    shown = subprocess.run(
        [sys.executable, "-m", "nh", "config"], env=environment, capture_output=True, text=True, check=True
    )
    assert str(token_file) in shown.stdout
    assert TOKEN not in shown.stdout + shown.stderr


@pytest.mark.chromium
@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_page_asks_for_the_token_and_keeps_it_nowhere(guarded: Relay) -> None:
    host, port = http_address(guarded)
    with running_browser(shutil.which("chromium") or "") as tab:
        tab.open(f"http://{host}:{port}/")
        tab.wait_for("!document.getElementById('login').hidden")
        for token in (WRONG, TOKEN):
            tab.wait_for("!document.getElementById('login').hidden")
            tab.value(
                f"(() => {{ document.getElementById('token').value = '{token}';"
                " document.getElementById('login').requestSubmit(); })()"
            )
        tab.wait_for("document.getElementById('state').textContent.startsWith('ready, up for ')")
        assert tab.value("document.getElementById('login').hidden")
        assert tab.value("document.cookie + localStorage.length + sessionStorage.length") == "00"
        assert tab.value("document.getElementById('token').value") == ""


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"http_token_file": "/x"}, "--http-token-file: needs an address to serve"),
        ({"http": ["127.0.0.1:0"], "http_private": True}, "--http-private: needs a token"),
    ],
)
def test_settings_that_make_no_sense_alone_are_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_settings(flags=flags, environment={})


@pytest.mark.parametrize("token", ["x" * (MIN_TOKEN - 1), "with a space in it all"])
def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(0o600)
    settings = load_settings(flags={"http": ["127.0.0.1:0"], "http_token_file": str(path)}, environment={})
    with pytest.raises(ConfigError, match="openssl rand -hex 32") as refusal:
        check_http(settings, had=lambda _: False)
    assert token not in str(refusal.value)
