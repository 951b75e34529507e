"""nh.wire.ng.requests: datagrams to commands, and rtpengine's words for what cannot be one."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Block
from nh.commands import Answer, BlockMedia, Delete, ListCalls, Offer, OfferOptions, Ping, Query
from nh.results import Failure
from nh.wire.ng import NgRequest, decode_request, split_cookie
from nh.wire.subject import Subject
from tests.wire.fuzz import fuzzed, mutated
from tests.wire.ng import SDP, answer, offer, payload, written


def command(data: bytes) -> Any:
    return decode_request(data).command


def failure(data: bytes) -> Failure:
    found = command(data)
    assert isinstance(found, Failure)
    return found


# --- envelopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("datagram", [b"", b"cookie", b" d7:command4:pinge", b"c" * 257 + b" d4:pinge"])
def test_a_message_without_a_cookie_is_not_split(datagram: bytes) -> None:
    assert split_cookie(datagram) is None


def test_the_cookie_ends_at_the_first_space() -> None:
    assert split_cookie(b"5323_1 d7:command4:pinge") == (b"5323_1", b"d7:command4:pinge")
    assert split_cookie(b"\xff\x00 ") == (b"\xff\x00", b"")


@pytest.mark.parametrize("data", [b"d7:command4:pinge", b'{"command": "ping"}'])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_end_behind_a_message_does_not_count(data: bytes, end: bytes) -> None:
    """So `echo "1 d7:command4:pinge" | nc -u` is answered."""
    assert command(data + end) == Ping()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Invalid data (no payload)"),
        (b"VERSION", "Invalid NG data format"),
        (b"d7:command4:ping", "Could not decode bencode dictionary"),
        (b"d7:command4:pinge d", "Could not decode bencode dictionary"),
        (b"d" * 60_000, "Could not decode bencode dictionary"),
        (b'{"command": "ping"', "Failed to parse JSON document"),
        (b'{"a":' * 30_000, "Failed to parse JSON document"),
        (b'{"command": "\xff"}', "Failed to parse JSON document"),
        (b"de", 'Dictionary contains no key "command"'),
        (written({"command": ["ping"]}), 'Dictionary contains no key "command"'),
    ],
)
def test_what_is_no_dictionary_with_a_command_is_told_as_by_rtpengine(data: bytes, reason: str) -> None:
    assert failure(data) == Failure("bad_request", reason)


# --- commands -------------------------------------------------------------------------------------


def test_ping() -> None:
    assert command(b"d7:command4:pinge") == command(b'{"command": "ping"}') == Ping()


def test_an_offer_as_kamailio_sends_it() -> None:
    request = decode_request(
        written(
            {
                "supports": ["load limit"],
                "sdp": SDP,
                "ICE": "remove",
                "flags": ["trust-address", "symmetric"],
                "replace": ["origin", "session-connection"],
                "transport-protocol": "RTP/AVP",
                "call-id": b"\xffcall",
                "via-branch": "z9hG4bK1",
                "received-from": ["IP4", "198.51.100.7"],
                "from-tag": b"a\x00",
                "sip-message-type": "request",
                "command": "offer",
            }
        )
    )
    assert request.load_limit
    assert request.ignored == ""
    offered = request.command
    assert isinstance(offered, Offer)
    assert (offered.call_id, offered.from_tag, offered.to_tag) == (b"\xffcall", b"a\x00", b"")
    assert (offered.via_branch, offered.sdp) == (b"z9hG4bK1", SDP)
    assert offered.options.received_from == "198.51.100.7"
    assert offered.options.replace_origin
    assert offered.options.transport_protocol == "RTP/AVP"


def test_an_answer_as_opensips_sends_it() -> None:
    request = decode_request(
        written(
            {
                "command": "answer",
                "call-id": "call",
                "received-from": ["IP6", "2001:db8::7"],
                "from-tag": "a",
                "to-tag": "b",
                "direction": ["priv", "pub"],
                "address family": "IP6",
                "sdp": SDP,
            }
        )
    )
    options = OfferOptions(received_from="2001:db8::7", direction=("priv", "pub"), family=6)
    answer = Answer(b"call", b"a", b"b", b"", SDP, options)
    assert request == NgRequest(answer, subject=Subject(b"answer", b"call"))
    assert str(request.subject) == "the command 'answer' for call 'call'"


def test_json_says_the_same_as_bencode() -> None:
    fields = {
        "command": "offer",
        "call_id": "call",
        "from tag": 17,
        "sdp": SDP.decode(),
        "flags": "asymmetric",
    }
    offered = command(json.dumps(fields).encode())
    assert offered.options.escaped, "the reply will be in JSON, too"
    plain = msgspec.structs.replace(offered.options, escaped=False)
    assert msgspec.structs.replace(offered, options=plain) == command(written(fields))


@pytest.mark.parametrize("name", ["call-id", "call_id", "call id", "Call-ID"])
def test_keys_may_be_spelled_in_several_ways(name: str) -> None:
    assert command(written({"command": "query", name: "x"})) == Query(b"x")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (payload("offer"), "No SDP body in message"),
        (offer(sdp=["a", "list"]), "No SDP body in message"),
        (offer(call_id=""), "No call-id in message"),
        (offer(call_id={"a": 1}), "No call-id in message"),
        (offer(from_tag=""), "No from-tag in message"),
        (answer(from_tag=""), "No from-tag in message"),
        (answer(to_tag=""), "No to-tag in message"),
        (payload("delete"), "No call-id in message"),
        (payload("query"), "No call-id in message"),
        (payload("block media"), "No call-id in message"),
        (offer(call_id="c" * 20_000), "call-id: 20000 bytes are more than 16384"),
    ],
)
def test_what_a_command_needs_is_told_as_by_rtpengine(data: bytes, reason: str) -> None:
    assert failure(data) == Failure("bad_request", reason)


def test_a_delete_waits_unless_told_otherwise() -> None:
    assert command(payload("delete", call_id="c", from_tag="a")) == Delete(b"c", b"a", delay_s=30)
    for key in ("delete delay", "delete-delay"):
        for value in (0, "0"):
            assert command(written({"command": "delete", "call-id": "c", key: value})).delay_s == 0
    assert command(payload("delete", call_id="c", delete_delay=10**9)).delay_s == 3600
    assert command(payload("delete", call_id="c", delete_delay=-1)).delay_s == 30
    assert command(payload("delete", call_id="c", delete_delay="")).delay_s == 30
    assert "delete-delay" in failure(payload("delete", call_id="c", delete_delay="soon")).message


def test_a_deletes_to_tag_counts_where_the_client_selects_by_it() -> None:
    """A client that sends raw flags sends the tag always; one that parses them only for the flag `to-tag`."""
    tags = {"call_id": "c", "from_tag": "a", "to_tag": "b", "via_branch": "v"}
    one, all_of_a = Delete(b"c", b"a", b"b", b"v", 30), Delete(b"c", b"a", b"", b"v", 30)
    assert command(payload("delete", **tags)) == one
    for raw in ("", "delete-delay=30"):
        assert command(payload("delete", rtpp_flags=raw, **tags)) == all_of_a
    for flag in ("to-tag", "to tag", "to_tag"):
        assert command(payload("delete", flags=[flag], rtpp_flags="", **tags)) == one
    assert command(payload("delete", rtpp_flags="to-tag", **tags)) == one


def test_a_delete_says_how_to_be_answered() -> None:
    request = decode_request(payload("delete", call_id="c", flags=["fatal", "fast"]))
    assert (request.fatal, request.fast) == (True, True)


def test_a_query_is_about_one_end_where_it_names_one() -> None:
    assert command(payload("query", call_id="c", from_tag="a")) == Query(b"c", b"a")
    assert command(payload("query", call_id="c", from_tag="a", to_tag="b")) == Query(b"c", b"b")


def test_a_list_has_32_calls_by_default() -> None:
    assert command(payload("list")) == ListCalls(limit=32)
    assert command(payload("list", limit="")) == ListCalls(limit=32)
    assert command(payload("list", limit="7")) == ListCalls(limit=7)
    assert command(payload("list", limit=10**6)) == ListCalls(limit=1000)
    assert failure(payload("list", limit=0)).message == "invalid limit, must be > 0"
    assert "limit" in failure(payload("list", limit=["7"])).message


def test_media_are_blocked_for_one_end_only_if_the_client_says_so() -> None:
    one, call = BlockMedia(b"c", b"a", False), BlockMedia(b"c", b"", False)
    tags = {"call_id": "c", "from_tag": "a", "to_tag": "b"}
    assert command(payload("unblock media", **tags)) == one
    assert command(payload("unblock media", flags=["directional"], rtpp_flags="x", **tags)) == one
    assert command(payload("unblock media", rtpp_flags="directional", **tags)) == one
    assert command(payload("unblock media", rtpp_flags="debug", **tags)) == call
    assert command(payload("unblock media", flags=["all"], **tags)) == call
    assert command(payload("unblock media", all="all", **tags)) == call
    assert command(payload("block media", call_id="c")) == BlockMedia(b"c", b"", True)
    assert command(payload("block DTMF", **tags)) == BlockMedia(b"c", b"a", True, Block.DTMF)
    assert command(payload("unblock DTMF", call_id="c")) == BlockMedia(b"c", b"", False, Block.DTMF)
    assert command(payload("silence media", **tags)) == BlockMedia(b"c", b"a", True, Block.SOUND)
    assert command(payload("unsilence media", call_id="c")) == BlockMedia(b"c", b"", False, Block.SOUND)


def test_an_end_is_blocked_by_its_label_or_address() -> None:
    by_label = BlockMedia(b"c", b"a", True, label="caller")
    assert command(payload("block media", call_id="c", from_tag="a", label="caller")) == by_label
    assert command(payload("block media", call_id="c", from_tag="a", from_label="caller")) == by_label
    assert command(payload("block media", call_id="c", address="2001:DB8::0:1")) == BlockMedia(
        b"c", b"", True, address="2001:db8::1"
    )
    assert "address" in failure(payload("block media", call_id="c", address="no address")).message
    whole = payload("block media", call_id="c", label="caller", flags=["all"])
    assert command(whole) == BlockMedia(b"c", b"", True)


@pytest.mark.parametrize("medias", ["offer-answer", "flows", "none"])
def test_all_media_are_of_an_offer_and_its_answer(medias: str) -> None:
    tags = {"call_id": "c", "from_tag": "a", "all": medias}
    request = decode_request(payload("block media", **tags))
    assert (request.command, request.ignored) == (BlockMedia(b"c", b"a", True), "")


@pytest.mark.parametrize("medias", ["except-offer-answer", "non-offer-answer", "not-offer-answer"])
def test_there_are_no_other_media_to_block(medias: str) -> None:
    for command_name in ("block media", "unblock DTMF", "silence media"):
        refused = failure(payload(command_name, call_id="c", from_tag="a", all=medias))
        assert refused.code == "unsupported"
        assert refused.message.startswith("all=except-offer-answer")


@pytest.mark.parametrize(
    "name",
    [
        "start recording",
        "play media",
        "play DTMF",
        "stop media",
        "subscribe request",
        "publish",
    ],
)
def test_what_only_rtpengine_does_is_refused_by_name(name: str) -> None:
    assert failure(payload(name, call_id="c")) == Failure("unsupported", name)


def test_an_unknown_command_is_unrecognized() -> None:
    assert failure(payload("fly")) == Failure("unknown_command", "Unrecognized command")


# --- whatever comes -------------------------------------------------------------------------------

anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(-(10**17), 10**17), st.binary(max_size=30), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.binary(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    "sdp",
    "call-id",
    "from-tag",
    "to-tag",
    "via-branch",
    "flags",
    "replace",
    "ICE",
    "rtcp-mux",
    "direction",
    "address-family",
    "media-address",
    "received-from",
    "TOS",
    "label",
    "transport-protocol",
    "supports",
    "rtpp-flags",
    "delete-delay",
    "limit",
    "codec",
    "T.38",
    "SDES",
    "from-interface",
    "to-interface",
    "endpoint-learning",
    "OSRTP",
    "bundle",
]
COMMANDS = ["ping", "offer", "answer", "delete", "query", "list", "block media", "unblock media"]


@fuzzed
@given(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(KEYS), anything, max_size=8))
def test_any_value_in_any_field_gives_a_command_or_a_failure(name: str, fields: dict[str, Any]) -> None:
    request = decode_request(written({**fields, "command": name}))
    if isinstance(request.command, Failure):
        assert request.command.code in ("bad_request", "unsupported")


@fuzzed
@given(
    st.binary(max_size=300)
    | mutated(st.sampled_from([offer(flags=["fast"]), answer(), b'{"command":"ping"}']))
)
def test_garbage_gives_a_failure_at_worst(data: bytes) -> None:
    decode_request(data)
