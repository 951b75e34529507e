import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import MAX_MEDIA, MAX_RANGE, Media, RelayMedia, Side
from nh.calls.rtp.payload_types import PayloadFormat
from nh.commands import MAX_CSEQ, MAX_ID_BYTES, Activate, Allocate, Close, Command, Extension, TransactionKey
from nh.errors import MalformedFrame, MalformedRequest, ProtocolError, UnknownCommand
from nh.results import Activated, Allocated, CallList, Closed, ExtensionResult, Failure, Result
from nh.wire import netsip
from nh.wire.netsip.storable import Value, freeze_array, thaw
from tests.wire.fuzz import fuzzed, mutated, scalars, values
from tests.wire.golden import Vector, vector, vectors

NAT_BASIC: list[Any] = [b"call", b"1", b"from", b"to", b"sip:from", b"sip:to"]
MEDIUM: dict[bytes, Any] = {
    b"addr": b"192.0.2.1",
    b"port": b"30000",
    b"proto": b"RTP/AVP",
    b"media": b"audio",
}

KEY = TransactionKey(
    b"3c2670@192.0.2.10", 1, b"f-81a3", b"t-77c0", b"sip:me@example.org", b"sip:you@example.com"
)
PROXY_KEY = TransactionKey(
    b"6f2b1c0d@127.0.0.1",
    1,
    b"sip:me@example.org\0f-81a3\x00127.0.0.1:5070",
    b"sip:you@example.com\0t-77c0\x00127.0.0.1:5090",
    b"sip:me@example.org",
    b"sip:you@example.com",
)


def request(*items: object) -> bytes:
    return freeze_array(items)


def allocate(
    nat_basic: object = NAT_BASIC, side: object = 0, addr: object = b"127.0.0.1", media: object = (MEDIUM,)
) -> bytes:
    return request(b"allocate", nat_basic, side, addr, media)


def decode_allocate(payload: bytes) -> Allocate:
    command = netsip.decode_request(payload)
    assert isinstance(command, Allocate)
    return command


def decode_key(payload: bytes) -> TransactionKey:
    command = netsip.decode_request(payload)
    assert isinstance(command, Allocate | Activate | Close)
    return command.key


# --- golden requests ------------------------------------------------------------------------------


def of(key: TransactionKey, **changes: Any) -> TransactionKey:
    return TransactionKey(
        **{name: changes.get(name, getattr(key, name)) for name in TransactionKey.__struct_fields__}
    )


def audio(address: str, port: int) -> Media:
    return Media(address, port, 2, "RTP/AVP", "audio")


@pytest.mark.parametrize(
    ("name", "side", "address", "media"),
    [
        ("allocate_request_side", Side.FROM, "127.0.0.1", [audio("192.0.2.10", 30000)]),
        ("allocate_response_side", Side.TO, "127.0.0.1", [audio("198.51.100.7", 40000)]),
        ("allocate_port_as_string", Side.FROM, "127.0.0.1", [audio("192.0.2.10", 30000)]),
        ("allocate_inactive_media", Side.FROM, "127.0.0.1", [audio("0.0.0.0", 0)]),
        ("allocate_ipv6", Side.FROM, "::1", [audio("2001:db8::7", 30000)]),
        (
            "allocate_two_media",
            Side.FROM,
            "127.0.0.1",
            [audio("192.0.2.10", 30000), Media("192.0.2.10", 30010, 2, "RTP/AVP", "video")],
        ),
    ],
)
def test_golden_allocates(name: str, side: Side, address: str, media: list[Media]) -> None:
    command = netsip.decode_request(vector(name).image)
    assert command == Allocate(KEY, side, address, tuple(media))


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("activate", Activate(KEY)),
        ("activate_with_param", Activate(KEY, {"leg": "3", "user": "alice"})),
        ("close_cancel_with_cseq", Close(KEY)),
        ("close_bye_cseq_undef", Close(of(KEY, cseq=None))),
        ("cseq_as_string", Activate(of(KEY, cseq=102))),
        ("cseq_large", Activate(of(KEY, cseq=2**32 - 1))),
        ("utf8_tag", Activate(of(KEY, id_from="f-\u00e9\u20ac".encode(), id_to=b"t"))),
        ("long_callid", Activate(of(KEY, call_id=b"c" * 300))),
        ("activate_as_a_proxy_sends_it", Activate(PROXY_KEY)),
        ("close_cancel_as_a_proxy_sends_it", Close(PROXY_KEY)),
        ("close_bye_as_a_proxy_sends_it", Close(of(PROXY_KEY, cseq=None))),
    ],
)
def test_golden_activates_and_closes(name: str, command: Command) -> None:
    assert netsip.decode_request(vector(name).image) == command


def test_the_media_of_a_real_proxy_are_understood() -> None:
    offer = decode_allocate(vector("allocate_as_a_proxy_sends_it").image)
    assert (offer.key, offer.side) == (PROXY_KEY, Side.FROM)
    assert offer.media == (audio("127.0.0.1", 30000),)
    held = decode_allocate(vector("allocate_inactive_as_a_proxy_sends_it").image)
    assert held.side is Side.TO
    assert held.media == (audio("0.0.0.0", 0),)


def test_a_missing_idto_is_empty() -> None:
    assert decode_key(vector("allocate_idto_undef").image) == of(KEY, id_to=b"")
    assert decode_key(request(b"close", [b"c", 1, b"f"])) == TransactionKey(b"c", 1, b"f")


# --- what Perl leaves open ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cseq", "number"),
    [
        (0, 0),
        (b"0", 0),
        (b"", 0),
        ("", 0),
        (b"102", 102),
        (102, 102),
        ("7", 7),
        (b"0012", 12),
        (None, None),
        (MAX_CSEQ, MAX_CSEQ),
    ],
)
def test_a_cseq_may_be_a_number_or_digits(cseq: object, number: int | None) -> None:
    assert decode_key(request(b"close", [b"c", cseq, b"f", b"t"])).cseq == number


def test_numeric_ids_are_their_digits() -> None:
    assert decode_key(request(b"close", [17, 1, 2**40, 0])) == TransactionKey(
        b"17", 1, b"1099511627776", b"0"
    )


@pytest.mark.parametrize(("side", "expected"), [(0, 0), (1, 1), (b"0", 0), (b"1", 1), (True, 1), (b"", 0)])
def test_a_side_may_be_a_number_or_digits(side: object, expected: int) -> None:
    assert decode_allocate(allocate(side=side)).side == expected


@pytest.mark.parametrize(
    ("proto", "range_"), [(b"RTP/AVP", 2), (b"RTP/SAVPF", 2), (b"udptl", 1), (b"rtp/avp", 1), (None, 1)]
)
def test_a_missing_range_follows_from_the_proto(proto: bytes | None, range_: int) -> None:
    medium = {**MEDIUM, b"proto": proto}
    assert decode_allocate(allocate(media=[medium])).media[0].range == range_


def test_empty_media_are_an_allocate_of_nothing() -> None:
    assert decode_allocate(allocate(media=[])).media == ()


def test_host_names_in_media_are_kept() -> None:
    assert (
        decode_allocate(allocate(media=[{**MEDIUM, b"addr": b"phone.example"}])).media[0].address
        == "phone.example"
    )


def test_arguments_behind_those_of_a_command_are_ignored() -> None:
    assert netsip.decode_request(request(b"close", NAT_BASIC, b"more", [1])) == netsip.decode_request(
        request(b"close", NAT_BASIC)
    )


def test_a_param_is_text_whatever_its_bytes() -> None:
    param = {b"user": b"al\xffice", b"n": 3, b"none": None, "k\u00e9": "v\u20ac", b"half": b"0.5"}
    command = netsip.decode_request(request(b"activate", NAT_BASIC, param))
    assert isinstance(command, Activate)
    assert command.param == {"user": "al\\xffice", "n": "3", "none": "", "k\u00e9": "v\u20ac", "half": "0.5"}
    assert netsip.decode_request(request(b"activate", NAT_BASIC, None)) == netsip.decode_request(
        request(b"activate", NAT_BASIC)
    )


def test_nested_plain_data_of_a_param_are_kept_as_json() -> None:
    param = {
        b"codecs": [b"PCMA", {b"rate": 8000, "\u00e9": [None, 0.5, "\u20ac", b"\xff"]}],
        b"empty": {},
        b"code": b"system('id')",
    }
    command = netsip.decode_request(request(b"activate", NAT_BASIC, param))
    assert isinstance(command, Activate)
    nested = {"rate": 8000, "\u00e9": [None, "0.5", "\u20ac", "\\xff"]}
    assert json.loads(command.param["codecs"]) == ["PCMA", nested]
    assert (command.param["empty"], command.param["code"]) == ("{}", "system('id')")


@pytest.mark.parametrize("param", [0, b"", b"0", ""])
def test_a_param_that_is_false_for_perl_is_none(param: object) -> None:
    assert netsip.decode_request(request(b"activate", NAT_BASIC, param)) == netsip.decode_request(
        request(b"activate", NAT_BASIC)
    )


@pytest.mark.parametrize("index", [0, 2, 3, 4, 5])
def test_text_that_is_equal_for_perl_is_one_id(index: int) -> None:
    def key_with(text: object) -> TransactionKey:
        basic: list[object] = [b"call", 1, b"a", b"b", b"c", b"d"]
        basic[index] = text
        command = netsip.decode_request(request(b"close", basic))
        assert isinstance(command, Close)
        return command.key

    assert key_with("caf\u00e9") == key_with(b"caf\xe9")
    assert key_with("\u20ac") == key_with("\u20ac".encode())
    assert key_with("caf\u00e9") != key_with("caf\u00e9".encode())


# --- rejected requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload", [request(), request([b"allocate"]), request(None), request(5), b"\x05\x0b\x0a\x05close"]
)
def test_what_is_no_list_with_a_name_ends_the_connection(payload: bytes) -> None:
    with pytest.raises(MalformedFrame):
        netsip.decode_request(payload)


@pytest.mark.parametrize("golden", vectors("hostile"))
def test_hostile_payloads_end_the_connection(golden: Vector) -> None:
    with pytest.raises(MalformedFrame):
        netsip.decode_request(golden.image)


@pytest.mark.parametrize("name", [b"reboot", b"", b"Allocate", b"list", b"\xff\x00", "\u20ac"])
def test_other_commands_are_unknown(name: bytes) -> None:
    with pytest.raises(UnknownCommand):
        netsip.decode_request(request(name, 1))


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (request(b"allocate"), "allocate"),
        (request(b"allocate", NAT_BASIC, 0, b"127.0.0.1"), "3 arguments"),
        (request(b"activate"), "activate"),
        (request(b"close"), "close"),
        (request(b"close", b"call"), "nat_basic"),
        (request(b"close", None), "nat_basic"),
        (request(b"close", {b"callid": b"c"}), "nat_basic"),
        (request(b"close", [b"c", 1]), "nat_basic"),
        (request(b"close", [b"", 1, b"f", b"t"]), "call_id: is empty"),
        (request(b"close", [None, 1, b"f", b"t"]), "callid: undef"),
        (request(b"close", [[b"c"], 1, b"f", b"t"]), "callid: list"),
        (request(b"close", [b"c", 1, None, b"t"]), "idfrom"),
        (request(b"close", [b"c", 1, {}, b"t"]), "idfrom: dict"),
        (request(b"close", [b"c", -1, b"f", b"t"]), "cseq: -1"),
        (request(b"close", [b"c", b"-1", b"f", b"t"]), "cseq"),
        (request(b"close", [b"c", b"1.5", b"f", b"t"]), "cseq"),
        (request(b"close", [b"c", b"0x10", b"f", b"t"]), "cseq"),
        (request(b"close", [b"c", "\u0663", b"f", b"t"]), "cseq"),
        (request(b"close", [b"c", b"9" * 5000, b"f", b"t"]), "cseq"),
        (request(b"close", [b"c", MAX_CSEQ + 1, b"f", b"t"]), "cseq"),
        (request(b"close", [b"c" * (MAX_ID_BYTES + 1), 1, b"f", b"t"]), "call_id: 16385 bytes"),
        (request(b"close", [b"c", 1, b"f" * (MAX_ID_BYTES + 1), b"t"]), "id_from"),
        (request(b"close", [b"c", 1, b"f", b"t" * (MAX_ID_BYTES + 1)]), "id_to"),
        (allocate(nat_basic=[b"c", None, b"f", b"t"]), "cseq: allocate needs"),
        (allocate(side=2), "side: 2"),
        (allocate(side=None), "side: undef"),
        (allocate(side=b"from"), "side"),
        (allocate(addr=None), "addr"),
        (allocate(addr=b"localhost"), "address: 'localhost'"),
        (allocate(addr=b"\xff"), "addr: .* not ASCII"),
        (allocate(addr="127.0.0.\u0661"), "addr"),
        (allocate(media=None), "media"),
        (allocate(media={}), "media"),
        (allocate(media=[None]), r"media\[0\]: is not a hash"),
        (allocate(media=[MEDIUM, [b"192.0.2.1", 1]]), r"media\[1\]: is not a hash"),
        (allocate(media=[{}]), r"media\[0\]: addr: undef"),
        (allocate(media=[{b"addr": b"192.0.2.1"}]), r"media\[0\]: port: undef"),
        (allocate(media=[{**MEDIUM, b"port": 65536}]), r"media\[0\]: port 65536"),
        (allocate(media=[{**MEDIUM, b"port": -1}]), r"media\[0\]: port -1"),
        (allocate(media=[{**MEDIUM, b"port": b"http"}]), r"media\[0\]: port: 'http'"),
        (allocate(media=[{**MEDIUM, b"range": 0}]), r"media\[0\]: range 0"),
        (allocate(media=[{**MEDIUM, b"range": MAX_RANGE + 1}]), "range 65"),
        (allocate(media=[{**MEDIUM, b"range": [2]}]), "range: list"),
        (allocate(media=[{**MEDIUM, b"addr": b"300.1.1.1"}]), "300.1.1.1"),
        (allocate(media=[{**MEDIUM, b"addr": b"fe80::1%eth0"}]), "fe80"),
        (allocate(media=[{**MEDIUM, b"addr": b"no such host"}]), "no such host"),
        (allocate(media=[{**MEDIUM, b"addr": "\u00e9.example"}]), "not ASCII"),
        (allocate(media=[{**MEDIUM, b"proto": b"RTP/\xff"}]), "proto"),
        (allocate(media=[{**MEDIUM, b"media": b"\x1b[2J"}]), "kind"),
        (allocate(media=[{**MEDIUM, b"media": b"a" * 65}]), "kind"),
        (allocate(media=[MEDIUM] * (MAX_MEDIA + 1)), "65 are more than 64"),
        (request(b"activate", NAT_BASIC, [b"a", b"b"]), "param: is not a hash"),
        (request(b"activate", NAT_BASIC, b"param"), "param"),
        (request(b"activate", NAT_BASIC, {b"a": [b"x" * 200] * 6}), "param: 'a'"),
        (request(b"activate", NAT_BASIC, {b"%d" % n: 1 for n in range(65)}), "param: 65 entries"),
        (request(b"activate", NAT_BASIC, {b"a": b"x" * 1025}), "param: 'a'"),
        (request(b"activate", NAT_BASIC, {b"\xff" * 300: b""}), "param"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_are_refused_with_what_is_wrong(payload: bytes, what: str) -> None:
    with pytest.raises(MalformedRequest, match=what):
        netsip.decode_request(payload)


def test_as_many_media_as_a_command_may_have_are_read() -> None:
    assert len(decode_allocate(allocate(media=[MEDIUM] * MAX_MEDIA)).media) == MAX_MEDIA


# --- extensions -----------------------------------------------------------------------------------


def test_an_extension_gets_its_arguments_as_they_are() -> None:
    command = netsip.decode_request(request(b"reboot", 1, [b"x"]), extensions={"reboot"})
    assert command == Extension("reboot", (1, [b"x"]))


def test_the_protocols_own_commands_stay_themselves() -> None:
    assert isinstance(netsip.decode_request(allocate(), extensions={"allocate"}), Allocate)


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (Allocated((RelayMedia("127.0.0.1", 5004, 2), RelayMedia("127.0.0.1", 5008, 2))), "media"),
        (Allocated((RelayMedia("127.0.0.1", 0, 2),)), "media_inactive"),
        (Activated(True), "one"),
        (Activated(False), "minus_one"),
        (Closed(0), "undef"),
        (Closed(2), "closed_2"),
        (Failure("limit", "too many"), "undef"),
        (ExtensionResult(None), "undef"),
        (ExtensionResult([[b"127.0.0.1", 0, 2]]), "media_inactive"),
        (ExtensionResult(object()), "undef"),
        (ExtensionResult(float("nan")), "undef"),
        (ExtensionResult(b"x" * 32768), "undef"),
        (CallList(()), "undef"),
    ],
)
def test_replies_are_perls_bytes(result: Result, name: str) -> None:
    assert netsip.encode_result(result) == vector(name).image


def test_empty_media_are_an_empty_array() -> None:
    assert netsip.read_allocated(netsip.decode_reply(netsip.encode_result(Allocated(())))) == []


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("media", [("127.0.0.1", 5004, 2), ("127.0.0.1", 5008, 2)]),
        ("media_inactive", [("127.0.0.1", 0, 2)]),
        ("undef", None),
    ],
)
def test_allocated_media_are_read(name: str, media: list[tuple[str, int, int]] | None) -> None:
    assert netsip.read_allocated(netsip.decode_reply(vector(name).image)) == media


@pytest.mark.parametrize(("name", "count"), [("one", 1), ("minus_one", -1), ("undef", None), ("closed_2", 2)])
def test_counts_are_read(name: str, count: int | None) -> None:
    assert netsip.read_count(netsip.decode_reply(vector(name).image)) == count


@pytest.mark.parametrize("value", [1, b"x", [1], [[b"a", 1]], [[b"a", b"port", 2]], [[None, 1, 2]]])
def test_replies_that_are_no_media_are_refused(value: Value) -> None:
    with pytest.raises(MalformedFrame):
        netsip.read_allocated(value)


def test_a_reply_that_is_no_count_is_refused() -> None:
    with pytest.raises(MalformedFrame):
        netsip.read_count([1])


# --- the way there and back -----------------------------------------------------------------------

ids = st.binary(max_size=40)
keys = st.builds(
    TransactionKey, st.binary(min_size=1, max_size=40), st.integers(0, MAX_CSEQ), ids, ids, ids, ids
)
media = st.builds(
    Media,
    st.sampled_from(["192.0.2.1", "::", "2001:db8::7", "0.0.0.0", "phone.example"]),
    st.integers(0, 65535),
    st.integers(1, MAX_RANGE),
    st.sampled_from(["", "RTP/AVP", "udptl"]),
    st.sampled_from(["", "audio", "image"]),
)
params = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4)
commands = st.one_of(
    st.builds(
        Allocate,
        keys,
        st.sampled_from(Side),
        st.sampled_from(["127.0.0.1", "::1"]),
        st.tuples(media, media),
    ),
    st.builds(Activate, keys, params),
    st.builds(Close, keys),
)


@fuzzed
@given(commands)
def test_commands_survive_the_way(command: Allocate | Activate | Close) -> None:
    assert netsip.decode_request(netsip.encode_request(command)) == command


@fuzzed
@given(mutated(st.sampled_from([golden.values[0].image for golden in vectors("request", "hostile")])))
def test_mutated_requests_are_commands_or_protocol_errors(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(netsip.decode_request(payload), Command)


any_medium = st.dictionaries(
    st.sampled_from([b"addr", b"port", b"range", b"proto", b"media", b"fmt", "\u20ac"]),
    st.one_of(scalars, st.sampled_from([b"192.0.2.1", b"30000", 2, b"RTP/AVP"])),
)
any_nat_basic = st.lists(st.one_of(scalars, st.sampled_from([b"c", 1])), max_size=7)


@fuzzed
@given(
    st.sampled_from([b"allocate", b"activate", b"close"]),
    st.lists(
        st.one_of(values, any_nat_basic, st.lists(any_medium), st.sampled_from([0, 1, b"::1"])), max_size=5
    ),
)
def test_any_arguments_are_a_command_or_a_protocol_error(name: bytes, arguments: list[Value]) -> None:
    with contextlib.suppress(MalformedRequest):
        command = netsip.decode_request(request(name, *arguments))
        assert isinstance(command, Allocate | Activate | Close)
        assert 1 <= len(command.key.call_id) <= MAX_ID_BYTES


@fuzzed
@given(st.lists(values, max_size=4))
def test_what_an_extension_returns_is_what_the_client_reads(value: Value) -> None:
    assert thaw(netsip.encode_result(ExtensionResult(value))) == value


# --- payload types ----------------------------------------------------------------------------------


def formats_of(**changes: Any) -> tuple[PayloadFormat, ...]:
    """What the medium of an allocate says of its payload types."""
    medium = MEDIUM | {key.encode(): value for key, value in changes.items()}
    command = netsip.decode_request(allocate(media=[medium]))
    assert isinstance(command, Allocate)
    return command.media[0].formats


OPUS = PayloadFormat(111, "opus", 48_000)


def test_rtpmaps_among_the_lines_of_a_medium_are_read() -> None:
    lines: list[object] = [
        [b"m", b"audio 30000 RTP/AVP 0 111 96"],
        [b"a", b"rtpmap:111 opus/48000/2"],
        [b"a", b"fmtp:111 useinbandfec=1"],
        [b"a", "rtpmap:96 VP8/90000"],
        [b"a", b"sendrecv"],
    ]
    assert formats_of(lines=lines) == (PayloadFormat(96, "VP8", 90_000), OPUS)
    assert formats_of(lines=lines, proto=b"udptl") == (), "no RTP"


@pytest.mark.parametrize(
    "line",
    [None, 1, b"a=rtpmap:0 PCMU/8000", [], [b"a"], [b"a", None], [b"a", [b"rtpmap:0 x/1"]],
     [b"b", b"rtpmap:0 x/1"], [b"a", b"rtpmap:\xff\xff"], {b"a": b"rtpmap:0 x/1"},
     [b"a", b"rtpmap:0 x/1", b"more"]],
)  # fmt: skip
def test_lines_that_say_nothing_of_payload_types_are_passed_over(line: object) -> None:
    assert formats_of(lines=[line, [b"a", b"rtpmap:111 opus/48000/2"]]) == (OPUS,)


@pytest.mark.parametrize("lines", [None, b"rtpmap", 7, {b"a": b"b"}], ids=repr)
def test_lines_that_are_none_are_passed_over(lines: object) -> None:
    assert formats_of(lines=lines) == ()


def test_a_client_tells_payload_types_as_lines() -> None:
    media = (Media("192.0.2.1", 4000, 2, "RTP/AVP", "audio", formats=(OPUS,)),)
    command = Allocate(KEY, Side.FROM, "127.0.0.1", media)
    assert netsip.decode_request(netsip.encode_request(command)) == command
