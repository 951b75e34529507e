"""What an operator and a browser get of a relay over HTTP."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import MAX_LIST, Allocate, CloseCall, TransactionKey
from tools.harness.call import RelayedCall
from tools.harness.relay import Relay
from tools.harness.waiting import TIMEOUT_S, eventually

HOSTILE = (
    b"<img src=x onerror=alert(1)>@example.org",
    b"../../etc/passwd?a=b&c#d%2e",
    b"\x00\x1b[31m\r\nSet-Cookie: a=b",
    b"\xff\xfe not UTF-8 \x80",
    "čeština ☎".encode(),
    b"x" * 10_000,
)


def call_url(call_id: bytes) -> str:
    return f"/api/calls/{quote(call_id, safe='')}"


def test_a_relay_that_serves_is_healthy_and_ready(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        reply = client.get(path)
        health = reply.json()
        assert 0 <= health.pop("load_percent") <= 100
        assert (reply.status_code, health) == (200, {"ok": True, "why": "", "at_limit": 0, "limits": []})


def test_metrics_count_the_calls_of_each_shard(relay: Relay, client: httpx.Client) -> None:
    def calls() -> float:
        families = {each.name: each for each in text_string_to_metric_families(client.get("/metrics").text)}
        assert [sample.labels for sample in families["nh_calls"].samples] == [{"shard": "0"}, {"shard": "1"}]
        return sum(sample.value for sample in families["nh_calls"].samples)

    before = calls()
    with RelayedCall(relay.unix_address) as call:
        eventually(lambda: calls() == before + 1, "the call is counted")
        call.end()


def test_the_statistics_are_those_of_nh_stats(relay: Relay, client: httpx.Client) -> None:
    stats = client.get("/api/stats").json()
    assert stats.keys() == relay.stats().to_builtins().keys()
    assert [shard["pid"] for shard in stats["shards"]] == [relay.shard_pid(0), relay.shard_pid(1)]


@pytest.mark.parametrize("call_id", HOSTILE, ids=range(len(HOSTILE)))
def test_a_call_is_listed_and_shown_whatever_its_call_id(
    relay: Relay, client: httpx.Client, call_id: bytes
) -> None:
    with RelayedCall(relay.unix_address, call_id) as call:
        [listed] = client.get(f"/api/calls?contains={quote(call_id, safe='')}").json()["calls"]
        call.talk()
        why = client.get(call_url(call_id).replace("/api/calls/", "/api/why/"))
        reply = client.get(call_url(call_id))
        shown = reply.json()
        assert shown["call_id"] == listed["call_id"] == why.json()["call_id"]
        assert [verdict["state"] for verdict in why.json()["verdicts"]] == ["ok", "ok"]
        assert reply.headers["content-type"] == "application/json"
        assert [len(each["pairs"]) for each in shown["sessions"]] == [2]
        assert (
            sum(pair[end]["packets"] for pair in shown["sessions"][0]["pairs"] for end in ("from", "to")) == 4
        )
        call.end()


def test_a_list_comes_page_by_page(relay: Relay, client: httpx.Client) -> None:
    calls = [RelayedCall(relay.unix_address, b"page-%d" % number) for number in range(5)]
    try:
        listed, after = [], ""
        while True:
            page = client.get("/api/calls", params={"contains": "page-", "limit": 2, "after": after}).json()
            assert len(page["calls"]) <= 2
            listed += [call["call_id"] for call in page["calls"]]
            if not (after := page["next"]):
                break
        assert listed == [f"page-{number}" for number in range(5)]
    finally:
        for call in calls:
            call.end()
            call.hang_up()


def test_a_list_is_selected_and_ordered(relay: Relay, client: httpx.Client) -> None:
    def listed(**query: str | int) -> list[str]:
        params: dict[str, str | int] = {"contains": "selected-", **query}
        return [call["call_id"] for call in client.get("/api/calls", params=params).json()["calls"]]

    ringing = Allocate(
        TransactionKey(b"selected-c", 1, b"alice"), Side.FROM, "127.0.0.1", (Media("192.0.2.1", 4000, 2),)
    )
    with (
        RelayedCall(relay.unix_address, b"selected-b") as first,
        RelayedCall(relay.unix_address, b"selected-a") as second,
        NativeClient(relay.unix_address, TIMEOUT_S) as native,
    ):
        native.request(ringing)
        assert listed() == ["selected-a", "selected-b", "selected-c"]
        assert listed(sort="age", address="127.0.0.0/8") == ["selected-b", "selected-a"]
        # a call that rings is neither, however long it does
        assert listed(one_way="true", silent="true", address="192.0.2.1") == []
        native.request(CloseCall(b"selected-c"))
        first.end()
        second.end()


@pytest.mark.parametrize("call_id", HOSTILE, ids=range(len(HOSTILE)))
def test_a_call_that_has_ended_is_listed_and_shown_whatever_its_call_id(
    relay: Relay, client: httpx.Client, call_id: bytes
) -> None:
    with RelayedCall(relay.unix_address, call_id) as call:
        call.talk()
        alive = client.get(call_url(call_id) + "/events").json()
        call.end()
    latest = client.get("/api/calls", params={"ended": "true", "limit": 1}).json()
    record = client.get(call_url(call_id)).json()
    events = client.get(call_url(call_id) + "/events").json()
    why = client.get(call_url(call_id).replace("/api/calls/", "/api/why/")).json()
    assert latest["calls"][0]["call_id"] == record["call_id"] == events["call_id"] == why["call_id"]
    assert (record["reason"], record["ended_by"]["command"], record["packets"]) == ("closed", "close", 4)
    assert why["ended"] == {name: record[name] for name in ("end", "duration_s", "reason", "ended_by")}
    assert events["events"] == record["events"]
    assert events["events"][: len(alive["events"])] == alive["events"]
    assert [verdict["state"] for verdict in why["verdicts"]] == ["ok", "ok"]


def test_calls_that_have_ended_come_page_by_page_the_latest_first(relay: Relay, client: httpx.Client) -> None:
    for number in range(5):
        with RelayedCall(relay.unix_address, b"past-%d" % number) as call:
            call.end()
    listed, before = [], 0
    while True:
        query: dict[str, str | int] = {"ended": "true", "contains": "past-", "limit": 2, "before": before}
        page = client.get("/api/calls", params=query).json()
        listed += [call["call_id"] for call in page["calls"]]
        if not (before := page["next"]):
            break
    assert listed == [f"past-{number}" for number in reversed(range(5))]


def test_there_are_no_redirects(client: httpx.Client) -> None:
    assert client.get("/api/calls/").status_code == 404
    assert client.get("/metrics/").status_code == 404


def test_a_path_that_the_api_does_not_have_is_an_error_of_the_api(client: httpx.Client) -> None:
    reply = client.get("/api/callls")
    assert reply.status_code == 404
    assert reply.json()["error"] == {
        "code": "not_found",
        "message": "the API has no such path; /api/openapi.json has them all",
    }
    assert client.get("/api").json() == reply.json()
    assert client.get("/nowhere").text.startswith("Not Found; the page is at /, the API at /api/openapi.json")


def test_a_method_that_a_path_of_the_api_does_not_have_is_an_error_of_the_api(client: httpx.Client) -> None:
    reply = client.get("/api/drain")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"] == {
        "code": "bad_request",
        "message": "this path of the API has another method; /api/openapi.json says which",
    }
    assert client.post("/metrics").text == "Method Not Allowed\n"


def test_an_unknown_call_is_not_found(client: httpx.Client) -> None:
    reply = client.get("/api/calls/no-such-call")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert (
        reply.json()["error"]["message"] == "no call has this call-id, and none that had it has ended lately"
    )


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        f"limit={MAX_LIST + 1}",
        "limit=1e3",
        "limit=",
        "limt=1",
        "one_way=yes",
        "silent=",
        "address=nowhere",
        "address=%ff",
        "sort=weather",
        "after=a&sort=age",
        "before=1",
        "ended=true&sort=age",
        "before=-1&ended=true",
        "before=" + "9" * 30 + "&ended=true",
        "limit=1&limit=2",
        "after=" + "x" * 16_385,
    ],
)
def test_a_query_that_cannot_be_read_is_refused_with_a_reason(client: httpx.Client, query: str) -> None:
    reply = client.get(f"/api/calls?{query}")
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["code"] == "bad_request"
    assert query.split("=", maxsplit=1)[0] in error["message"]


def assert_described(description: dict[str, Any], path: str, reply: object) -> None:
    """A reply is as the description says."""
    content = description["paths"][path]["get"]["responses"]["200"]["content"]
    schema = content["application/json"]["schema"] | {"components": description["components"]}
    jsonschema.validate(reply, schema)


def test_the_description_is_valid_and_the_replies_follow_it(relay: Relay, client: httpx.Client) -> None:
    description = client.get("/api/openapi.json").json()
    validate(description)
    with RelayedCall(relay.unix_address, b"described") as call:
        call.talk()
        replies = {
            "/api/stats": "/api/stats",
            "/api/calls": "/api/calls?contains=described",
            "/api/calls/{call_id}": "/api/calls/described",
            "/api/calls/{call_id}/events": "/api/calls/described/events",
            "/api/why/{call_id}": "/api/why/described",
            "/healthz": "/healthz",
            "/readyz": "/readyz",
        }
        for path, url in replies.items():
            assert_described(description, path, client.get(url).json())
        call.end()
    for path, url in (
        ("/api/calls", "/api/calls?ended=true"),
        ("/api/calls/{call_id}", "/api/calls/described"),
    ):
        assert_described(description, path, client.get(url).json())
    changes = {path for path, methods in description["paths"].items() if "post" in methods}
    assert changes == {"/api/calls/{call_id}/close", "/api/drain", "/api/undrain"}
    assert set(description["paths"]) == {*replies, *changes, "/metrics"}


def members_of(schema: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The members of all objects in a schema, with their own schemas."""
    if isinstance(schema, list):
        for each in schema:
            yield from members_of(each)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for each in schema.values():
            yield from members_of(each)


def test_the_description_has_what_is_sent_and_nothing_of_the_structs_behind_it(client: httpx.Client) -> None:
    """Every member is sent, so none has a default; the tags of structs are not. Bytes are Identifiers."""
    members = list(members_of(client.get("/api/openapi.json").json()["components"]))
    assert members
    assert [name for name, schema in members if "default" in schema] == []
    assert [name for name, _ in members if name == "type"] == []
    encoded = [name for name, schema in members if "contentEncoding" in schema]
    assert encoded == ["base64"], "of an Identifier that is no text"


def test_the_api_is_read_only(client: httpx.Client) -> None:
    for path in ("/api/stats", "/api/calls", "/api/calls/x", "/api/why/x", "/metrics", "/healthz", "/"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code == (403 if path.startswith("/api/") else 405)


def test_another_site_reaches_nothing_through_an_operators_browser(client: httpx.Client) -> None:
    for header, why in (("Host", "Host is not loopback"), ("Origin", "Origin is another site")):
        reply = client.get("/api/calls", headers={header: "http://evil.example"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")
        assert reply.json()["error"]["message"].startswith(why)
    own = str(client.base_url).removesuffix("/")
    assert client.get("/api/calls", headers={"Origin": own}).status_code == 200
    headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
