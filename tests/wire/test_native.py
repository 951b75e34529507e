import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import MAX_MEDIA, Endpoint, Media, RelayMedia, Side
from nh.calls.media_state import MediaState
from nh.calls.rtp.payload_types import PayloadFormat
from nh.commands import (
    MAX_CSEQ,
    MAX_DRAIN_S,
    MAX_ID_BYTES,
    MAX_LIST,
    Activate,
    Allocate,
    CallOrder,
    Close,
    CloseCall,
    Command,
    Drain,
    Extension,
    GetStats,
    ListCalls,
    Ping,
    Reload,
    SetLog,
    ShowCall,
    TransactionKey,
    Undrain,
)
from nh.errors import ERRORS_BY_CODE, MalformedFrame
from nh.logs.settings import LogLevel
from nh.results import (
    Activated,
    Allocated,
    CallDetail,
    CallList,
    CallSummary,
    Closed,
    EndSummary,
    ExtensionResult,
    Failure,
    GroupDetail,
    LegDetail,
    PairDetail,
    Pong,
    Result,
    SessionDetail,
    Stats,
)
from nh.wire import native
from tests.wire.fuzz import fuzzed, mutated

ALLOCATE = {
    "call_id": "call",
    "cseq": 1,
    "id_from": "from",
    "id_to": "to",
    "side": "from",
    "address": "127.0.0.1",
    "media": [{"address": "192.0.2.1", "port": 30000, "proto": "RTP/AVP", "kind": "audio"}],
}
CLOSE = {"call_id": "call", "id_from": "from", "id_to": "to"}
MEDIUM = {"address": "192.0.2.1", "port": 30000}

LEG = LegDetail("127.0.0.1:30000", "192.0.2.1:4000", None, False, 1, 172, {"source_mismatch": 3}, None)
END = EndSummary("192.0.2.10:4000", "PCMA", 5, 0.01, 4.2, None)
DETAIL = CallDetail(
    call_id=b"call\xff",
    shard=1,
    age_s=2.5,
    idle_s=0.5,
    groups=(
        GroupDetail(1, b"a\0b", Side.FROM, True, 2.5, (RelayMedia("127.0.0.1", 30000, 2),), (30000, 30001)),
        GroupDetail(1, b"t", Side.TO, True, 2.5, (), ()),
    ),
    sessions=(
        SessionDetail(
            sessionid=1,
            cseq=1,
            id_from=b"a\0b",
            id_to=b"t",
            from_="192.0.2.1:4000",
            to="192.0.2.2:4000",
            bytes_from=172,
            bytes_to=0,
            created=1.5e9,
            param={"user": "alice"},
            state="active",
            pairs=(PairDetail(0, 0, "audio", LEG, LEG),),
        ),
    ),
)


def body(command: str, fields: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"id": 1, "command": command, **fields, **changes}).encode()


def decode(command: str, fields: dict[str, Any], **changes: Any) -> Command | Failure:
    request_id, result = native.decode_request(body(command, fields, **changes))
    assert request_id == 1
    return result


def rejected(payload: bytes) -> Failure:
    _, result = native.decode_request(payload)
    assert isinstance(result, Failure), result
    assert result.code == "bad_request"
    return result


# --- requests -------------------------------------------------------------------------------------


def test_an_allocate_has_the_fields_of_the_documentation() -> None:
    audio = Media("192.0.2.1", 30000, 2, "RTP/AVP", "audio")
    expected = Allocate(TransactionKey(b"call", 1, b"from", b"to"), Side.FROM, "127.0.0.1", (audio,))
    assert decode("allocate", ALLOCATE) == expected


def test_a_range_left_out_follows_from_the_proto() -> None:
    media = [MEDIUM, {**MEDIUM, "proto": "RTP/SAVP"}, {**MEDIUM, "proto": "RTP/AVP", "range": 4}]
    command = decode("allocate", ALLOCATE, media=media)
    assert isinstance(command, Allocate)
    assert [medium.range for medium in command.media] == [1, 2, 4]


def test_rtcp_may_go_elsewhere() -> None:
    medium = {**MEDIUM, "rtcp": {"address": "2001:DB8::1", "port": 5000}}
    command = decode("allocate", ALLOCATE, media=[medium])
    assert isinstance(command, Allocate)
    assert command.media[0].rtcp == Endpoint("2001:db8::1", 5000)


@pytest.mark.parametrize(
    "rtcp",
    [
        {"address": "phone.example", "port": 5000},
        {"address": "192.0.2.1", "port": 0},
        {"address": "192.0.2.1", "port": 65536},
        {"address": "192.0.2.1"},
        5000,
    ],
)
def test_rtcp_is_an_endpoint_or_refused(rtcp: object) -> None:
    assert "rtcp" in rejected(body("allocate", ALLOCATE, media=[{**MEDIUM, "rtcp": rtcp}])).message


OPUS = {"payload_type": 111, "encoding": "opus", "clock_hz": 48_000}


def test_the_clocks_of_payload_types_may_be_told() -> None:
    command = decode("allocate", ALLOCATE, media=[{**MEDIUM, "formats": [OPUS]}])
    assert isinstance(command, Allocate)
    assert command.media[0].formats == (PayloadFormat(111, "opus", 48_000),)


@pytest.mark.parametrize(
    "formats",
    [
        [{**OPUS, "payload_type": 128}],
        [{**OPUS, "payload_type": -1}],
        [{**OPUS, "clock_hz": 0}],
        [{**OPUS, "clock_hz": 10_000_001}],
        [{**OPUS, "encoding": "x" * 65}],
        [{**OPUS, "encoding": "ö"}],
        [{"payload_type": 0}],
        [OPUS] * 129,
        "opus",
    ],
)
def test_payload_types_out_of_range_are_refused(formats: object) -> None:
    assert "formats" in rejected(body("allocate", ALLOCATE, media=[{**MEDIUM, "formats": formats}])).message


def test_close_ends_a_transaction_a_dialog_or_a_call() -> None:
    assert decode("close", CLOSE, cseq=7) == Close(TransactionKey(b"call", 7, b"from", b"to"))
    assert decode("close", CLOSE) == Close(TransactionKey(b"call", None, b"from", b"to"))
    assert decode("close", CLOSE, cseq=None) == Close(TransactionKey(b"call", None, b"from", b"to"))
    assert decode("close", {"call_id": "call"}) == CloseCall(b"call")


@pytest.mark.parametrize("missing", ["id_from", "id_to"])
def test_close_of_half_a_dialog_is_refused(missing: str) -> None:
    fields = {name: value for name, value in CLOSE.items() if name != missing}
    assert "id_from and id_to" in rejected(body("close", fields)).message
    assert "id_from and id_to" in rejected(body("close", {"call_id": "call", "cseq": 1})).message


def test_list_begins_at_the_first_call() -> None:
    assert decode("list", {}) == ListCalls(b"", b"", 100)
    assert decode("list", {"contains": "x", "after": {"base64": "/w=="}, "limit": 5}) == ListCalls(
        b"x", b"\xff", 5
    )
    fields = {"one_way": True, "silent": True, "address": "198.51.100.7/24", "sort": "loss"}
    assert decode("list", fields) == ListCalls(
        one_way=True, silent=True, address="198.51.100.0/24", sort=CallOrder.LOSS
    )
    assert decode("list", {"address": "2001:DB8::1"}) == ListCalls(address="2001:db8::1/128")


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"address": "nowhere"}, "address: 'nowhere' is not an IP address or network"),
        ({"address": "198.51.100.7/33"}, "address: "),
        ({"address": "fe80::1%eth0"}, "address: "),
        ({"address": "1" * 1000}, "address: "),
        ({"sort": "weather"}, "sort: 'weather' is not one of call_id, age, idle, packets, loss, mos"),
        ({"sort": ""}, "sort: "),
        ({"sort": "age", "after": "a"}, "after: a list sorted by age has one page"),
    ],
)
def test_a_list_that_cannot_be_made_says_why(fields: dict[str, object], what: str) -> None:
    message = rejected(body("list", fields)).message
    assert message.startswith(what)
    assert len(message) < 200


def test_the_other_commands() -> None:
    assert decode("activate", {"call_id": "c", "cseq": 0, "id_from": "f", "param": {"a": "b"}}) == Activate(
        TransactionKey(b"c", 0, b"f"), {"a": "b"}
    )
    assert decode("show", {"call_id": "c"}) == ShowCall(b"c")
    assert decode("stats", {}) == GetStats()
    assert decode("ping", {}) == Ping()
    assert decode("drain", {}) == Drain()
    assert decode("drain", {"limit_s": 60}) == Drain(60.0)
    assert decode("undrain", {}) == Undrain()
    assert decode("reload", {}) == Reload()
    assert decode("log", {}) == SetLog()
    assert decode("log", {"level": "debug", "area": "rpc"}) == SetLog(LogLevel.DEBUG, "rpc")


@pytest.mark.parametrize(
    ("identifier", "octets"),
    [
        ("plain", b"plain"),
        ("nul\0inside", b"nul\0inside"),
        ("\u00e9\u20ac", "\u00e9\u20ac".encode()),
        ({"base64": "AP8="}, b"\0\xff"),
        ({"base64": "cGxhaW4="}, b"plain"),
    ],
)
def test_identifiers_are_text_or_base64(identifier: object, octets: bytes) -> None:
    assert decode("show", {"call_id": identifier}) == ShowCall(octets)


@pytest.mark.parametrize("request_id", [0, -1, 2**63 - 1, "", "a", "\u00e9" * 256])
def test_any_number_or_text_is_an_id(request_id: int | str) -> None:
    assert native.decode_request(body("ping", {}, id=request_id)) == (request_id, Ping())


@pytest.mark.parametrize(
    "request_id", ["true", "null", "1.0", "1.5", "1e400", "[]", "{}", '"' + "x" * 257 + '"', "9" * 40]
)
def test_what_is_no_id_is_refused_without_one(request_id: str) -> None:
    found, result = native.decode_request(b'{"id":' + request_id.encode() + b',"command":"ping"}')
    assert found is None
    assert isinstance(result, Failure)
    assert result.code == "bad_request"


def test_a_field_that_comes_twice_counts_as_it_comes_last() -> None:
    assert native.decode_request(b'{"id":1,"command":"show","call_id":"a","call_id":"b","id":2}') == (
        2,
        ShowCall(b"b"),
    )


# --- rejected requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"{", "request: ends too early"),
        (b"{}", "id"),
        (b"[1]", "object"),
        (b'{"id":1}', "command"),
        (b'{"id":1,"command":null}', "command"),
        (b'{"id":1,"command":["ping"]}', "command"),
        (b'{"id":1,"command":"ping"} {}', "request: goes on behind its end"),
        (b'{"id":1,"command":"ping","id_from":1}', "id_from"),
        (b'{"id":1,"command":"show","call_id":"\xff"}', "not UTF-8"),
        (b'{"id":1,"command":"show","call_id":"\\ud800"}', "request"),
        (b'{"id":1,"command":"show","call_id":"\\udc00x"}', "byte 42 cannot be read"),
        (b'{"id":1,"command":"list","limit":NaN}', "byte 33 cannot be read"),
        (b'{"id":1,"command":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", ""),
        (b'{"id":1,"command":"show","call_id":' + b'{"base64":' * 3000 + b"}" * 3001, ""),
        (body("list", {"limit": 0}), "limit"),
        (body("list", {"limit": MAX_LIST + 1}), "limit"),
        (body("list", {"limit": 1.5}), "limit"),
        (body("drain", {"limit_s": -1}), "limit_s"),
        (body("drain", {"limit_s": MAX_DRAIN_S + 1}), "limit_s"),
        (body("list", {"contains": "x" * (MAX_ID_BYTES + 1)}), "contains"),
        (body("show", {}), "call_id"),
        (body("show", {"call_id": ""}), "call_id"),
        (body("show", {"call_id": 5}), "call_id"),
        (body("show", {"call_id": {"base64": "?"}}), "call_id"),
        (body("show", {"call_id": {"base64": "YQ"}}), "call_id"),
        (body("show", {"call_id": {"base64": "YQ==", "more": 1}}), "more"),
        (body("show", {"call_id": {"hex": "00"}}), "call_id"),
        (body("close", {}), "call_id"),
        (body("close", {"call_id": ""}), "call_id"),
        (body("activate", {"call_id": "c", "id_from": "f"}), "cseq"),
        (body("activate", {"call_id": "c", "id_from": "f", "cseq": 1, "param": {"a": 1}}), "param"),
        (body("activate", {"call_id": "c", "id_from": "f", "cseq": 1, "param": {"a": "b" * 1025}}), "param"),
        (body("allocate", ALLOCATE, cseq=None), "cseq"),
        (body("allocate", ALLOCATE, cseq="1"), "cseq"),
        (body("allocate", ALLOCATE, cseq=True), "cseq"),
        (body("allocate", ALLOCATE, cseq=-1), "cseq"),
        (body("allocate", ALLOCATE, cseq=MAX_CSEQ + 1), "cseq"),
        (body("allocate", ALLOCATE, id_from="x" * (MAX_ID_BYTES + 1)), "id_from"),
        (body("allocate", ALLOCATE, side="FROM"), "side"),
        (body("allocate", ALLOCATE, side=0), "side"),
        (body("allocate", ALLOCATE, address="localhost"), "address"),
        (body("allocate", ALLOCATE, media={}), "media"),
        (body("allocate", ALLOCATE, media=[{"address": "192.0.2.1"}]), r"port"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "port": "1"}]), "media[0].port"),
        (body("allocate", ALLOCATE, media=[MEDIUM, {**MEDIUM, "port": 65536}]), "media[1]: port 65536"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "range": 0}]), "media[0]: range 0"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "range": 1000}]), "media[0]: range 1000"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "address": "1.2.3.4.5"}]), "1.2.3.4.5"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "proto": "\u00e9"}]), "proto"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "kind": "\x1b"}]), "kind"),
        (body("allocate", ALLOCATE, media=[{**MEDIUM, "fmt": ["0"]}]), "fmt"),
        (body("allocate", ALLOCATE, media=[MEDIUM] * (MAX_MEDIA + 1)), "65 are more than 64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_requests_are_refused_with_the_field(payload: bytes, what: str) -> None:
    assert what in rejected(payload).message


def test_a_bad_request_is_answered_with_its_id() -> None:
    for payload in (b'{"id":"x","command":"show"}', b'{"id":"x"}', b'{"id":"x","command":"ping","more":1}'):
        assert native.decode_request(payload)[0] == "x"


def test_an_unknown_command_is_told_which_there_are() -> None:
    request_id, result = native.decode_request(body("reboot", {"now": True}))
    assert request_id == 1
    assert isinstance(result, Failure)
    assert result.code == "unknown_command"
    assert "allocate" in result.message


def test_an_extension_gets_its_fields() -> None:
    request_id, command = native.decode_request(body("reboot", {"now": [1.5, None]}), extensions={"reboot"})
    assert (request_id, command) == (1, Extension("reboot", ({"now": [1.5, None]},)))
    assert decode("ping", {}) == native.decode_request(body("ping", {}), extensions={"ping"})[1]


# --- replies --------------------------------------------------------------------------------------


def reply(result: Result, request_id: native.RequestId = 1) -> Any:
    return json.loads(native.encode_result(request_id, result))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            Allocated((RelayMedia("127.0.0.1", 5004, 2),)),
            {"media": [{"address": "127.0.0.1", "port": 5004, "range": 2}]},
        ),
        (Allocated(()), {"media": []}),
        (Activated(True), {"created": True}),
        (Closed(2), {"closed": 2}),
        (Pong("0.1.0"), {"version": "0.1.0"}),
        (Stats({"totals": {"calls": 1}}), {"totals": {"calls": 1}}),
        (ExtensionResult([b"a", {b"\xff": b"\xff"}]), ["a", {"\\xff": {"base64": "/w=="}}]),
        (CallList(()), {"calls": [], "next": "", "more": False}),
    ],
)
def test_results_are_plain_json(result: Result, expected: object) -> None:
    assert reply(result) == {"id": 1, "result": expected}


def test_a_call_is_shown_in_readable_terms() -> None:
    shown = reply(DETAIL)["result"]
    assert shown["call_id"] == {"base64": "Y2FsbP8="}
    assert [group["side"] for group in shown["groups"]] == ["from", "to"]
    assert shown["groups"][0]["id"] == "a\0b"
    assert shown["groups"][0]["media"] == [{"address": "127.0.0.1", "port": 30000, "range": 2}]
    (session,) = shown["sessions"]
    assert (session["from"], session["to"]) == ("192.0.2.1:4000", "192.0.2.2:4000")
    assert session["pairs"][0]["from"]["dropped"] == {"source_mismatch": 3}


@pytest.mark.parametrize("code", ERRORS_BY_CODE)
def test_failures_are_errors_with_code_and_message(code: str) -> None:
    assert reply(Failure(code, "why"), "x") == {"id": "x", "error": {"code": code, "message": "why"}}


@pytest.mark.parametrize("value", [object(), {1, object()}, {"k": {object(): 1}}, "\ud800"])
def test_what_an_extension_cannot_return_is_an_internal_error(value: object) -> None:
    assert reply(ExtensionResult(value))["error"]["code"] == "internal"


def test_a_reply_that_is_too_long_is_an_error_that_says_so() -> None:
    summary = CallSummary(b"c" * 16_000, 0, 1.0, 1.0, 1, 4, 0, 0)
    answer = reply(CallList((summary,) * 100))
    assert answer["error"]["code"] == "limit"
    assert "1048576" in answer["error"]["message"]


# --- client side ----------------------------------------------------------------------------------

ids = st.binary(max_size=20)
call_ids = st.binary(min_size=1, max_size=20)
keys = st.builds(TransactionKey, call_ids, st.integers(0, MAX_CSEQ), ids, ids, ids, ids)
byes = st.builds(TransactionKey, call_ids, st.none(), ids, ids)
media = st.builds(
    Media,
    st.sampled_from(["192.0.2.1", "2001:db8::7", "0.0.0.0", "phone.example"]),
    st.integers(0, 65535),
    st.integers(1, 64),
    st.sampled_from(["", "RTP/AVP"]),
    st.sampled_from(["", "audio"]),
    st.sampled_from([None, Endpoint("192.0.2.9", 5000)]),
    formats=st.sampled_from([(), (PayloadFormat(111, "opus", 48_000), PayloadFormat(0, "PCMU", 8000))]),
)
commands = st.one_of(
    st.builds(
        Allocate,
        keys,
        st.sampled_from(Side),
        st.sampled_from(["127.0.0.1", "::1"]),
        st.tuples(media, media),
    ),
    st.builds(Activate, keys, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
    st.builds(Close, st.one_of(keys, byes)),
    st.builds(CloseCall, call_ids),
    st.builds(ListCalls, ids, ids, st.integers(1, MAX_LIST), st.booleans(), st.booleans()),
    st.builds(
        ListCalls,
        ids,
        address=st.sampled_from(["", "198.51.100.0/24", "2001:db8::1/128"]),
        sort=st.sampled_from(CallOrder),
    ),
    st.builds(ShowCall, call_ids),
    st.just(GetStats()),
    st.just(Ping()),
)


@fuzzed
@given(commands, st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=256)))
def test_commands_survive_the_way(command: Command, request_id: int | str) -> None:
    assert native.decode_request(native.encode_request(request_id, command)) == (request_id, command)


def test_requests_say_nothing_of_media_that_only_the_sdps_of_ng_tell() -> None:
    medium = Media("192.0.2.1", 4000, 2, signalled_from="203.0.113.9", paused=True)
    command = Allocate(TransactionKey(b"call", 1, b"alice"), Side.FROM, "127.0.0.1", (medium,))
    request = json.loads(native.encode_request(1, command))
    assert request["media"][0].keys() == {*("address", "port", "range", "proto", "kind", "rtcp", "formats")}


def test_extensions_survive_the_way() -> None:
    command = Extension("reboot", ({"now": True},))
    assert native.decode_request(native.encode_request(1, command), {"reboot"}) == (1, command)
    assert json.loads(native.encode_request(1, Extension("reboot"))) == {"id": 1, "command": "reboot"}
    with pytest.raises(TypeError, match="reboot"):
        native.encode_request(1, Extension("reboot", (5,)))


@pytest.mark.parametrize(
    "result",
    [
        Allocated((RelayMedia("127.0.0.1", 5004, 2), RelayMedia("::1", 0, 1))),
        Activated(False),
        Closed(3),
        CallList((CallSummary(b"a\xff", 3, 1.5, 0.25, 2, 8, 100, 17200),), b"b\xff", True),
        CallList((CallSummary(b"a", 3, 1.5, 0.25, 2, 8, 100, 17200, MediaState.ONE_WAY, END, END),)),
        CallList((), b""),
        DETAIL,
        Stats({"totals": {"calls": 1}, "shards": [1, 2]}),
        Pong("0.1.0"),
        ExtensionResult([None, 1.5, "x", {"k": []}]),
    ],
    ids=lambda result: type(result).__name__,
)
def test_results_survive_the_way(result: Result) -> None:
    assert native.decode_reply(native.encode_result("id", result), type(result)) == ("id", result)


def test_failures_survive_the_way() -> None:
    failure = Failure("not_found", "no such call")
    assert native.decode_reply(native.encode_result(None, failure), Pong) == (None, failure)


def test_fields_of_a_newer_server_are_ignored() -> None:
    assert native.decode_reply(b'{"id":1,"result":{"version":"9","mood":"fine"},"v":2}', Pong) == (
        1,
        Pong("9"),
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id":1}',
        b'{"id":1,"result":5}',
        b'{"id":1,"result":{}}',
        b'{"id":1,"result":{"version":1}}',
        b'{"id":1,"result":{"version":"\xff"}}',
        b'{"id":1.5,"result":{"version":"1"}}',
        b'{"id":1,"error":{}}',
    ],
)
def test_what_is_no_reply_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedFrame, match="reply"):
        native.decode_reply(payload, Pong)


def test_a_result_of_another_command_is_malformed() -> None:
    for result_type in (Allocated, Activated, Closed, CallList, CallDetail, Stats):
        with pytest.raises(MalformedFrame, match=result_type.__name__):
            native.decode_reply(b'{"id":1,"result":[{"media":5}]}', result_type)


# --- any bytes ------------------------------------------------------------------------------------

requests = st.builds(native.encode_request, st.one_of(st.integers(0, 9), st.text(max_size=3)), commands)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_answerable(payload: bytes) -> None:
    request_id, result = native.decode_request(payload)
    assert isinstance(request_id, int | str | None)
    assert isinstance(result, Command | Failure)
    if isinstance(result, Failure):
        json.loads(native.encode_result(request_id, result))


@fuzzed
@given(mutated(requests))
def test_mutated_requests_are_commands_or_failures(payload: bytes) -> None:
    assert_answerable(payload)


@fuzzed
@given(st.binary(max_size=100))
def test_any_bytes_are_a_failure(tail: bytes) -> None:
    assert_answerable(b"{" + tail)


@fuzzed
@given(
    st.sampled_from(["allocate", "activate", "close", "list", "show", "stats", "ping"]),
    st.dictionaries(st.sampled_from([*ALLOCATE, "param", "limit", "contains", "more"]), json_values),
)
def test_any_fields_are_a_command_or_a_failure(command: str, fields: dict[str, Any]) -> None:
    assert_answerable(body(command, fields))
    assert_answerable(body(command, {**ALLOCATE, **fields}))
