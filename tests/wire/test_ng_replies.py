"""nh.wire.ng.replies: results in rtpengine's words, in the encoding of the request."""

import dataclasses
import json
from typing import Any

import msgspec
import pytest

from nh.results import (
    Blocked,
    CallList,
    CallSummary,
    Closed,
    Failure,
    MediumReading,
    Pong,
    Queried,
    Rewritten,
    Stats,
    StreamDetail,
    StreamQuality,
    StreamReading,
    StreamTotals,
    TagReading,
)
from nh.stats import ShardStats
from nh.wire.ng import bencode, decode_request, encode_reply
from nh.wire.ng.replies import SHORTENED, UNWARNED
from tests.wire.ng import MAX_BYTES, SDP, offer, payload, reply

DELETE = payload("delete", call_id="c")
QUERY = payload("query", call_id="c")


def stream(component: int, packets: int) -> StreamReading:
    source = "192.0.2.1:4000" if packets else None
    return StreamReading(
        30_000, component, "[2001:db8::1]:4000", source, packets, packets * 172, 1, 1402064124
    )


READING = Queried(
    1402064111,
    1402064116,
    (
        TagReading(
            b"a",
            "caller",
            1402064111,
            b"b",
            (MediumReading(1, "audio", "RTP/AVP", (stream(1, 5), stream(2, 1))),),
        ),
        TagReading(
            b"b\xff",
            "",
            1402064112,
            b"a",
            (MediumReading(1, "audio", "RTP/AVP", (stream(1, 7), stream(2, 0))),),
        ),
    ),
    rtp=StreamTotals(12, 12 * 172, 2),
    rtcp=StreamTotals(1, 172, 2),
    created_us=250_000,
)


def test_ping_is_answered_with_pong() -> None:
    assert encode_reply(decode_request(b"d7:command4:pinge"), Pong("1"), MAX_BYTES) == b"d6:result4:ponge"


def test_an_offer_is_answered_with_its_sdp_as_bytes() -> None:
    assert reply(offer(), Rewritten(SDP + b"\xff")) == {b"result": b"ok", b"sdp": SDP + b"\xff"}


def test_a_json_request_gets_a_json_reply() -> None:
    request = decode_request(b'{"command": "query", "call-id": "c"}')
    answered = json.loads(encode_reply(request, READING, MAX_BYTES))
    assert list(answered["tags"]) == ["a", "b\\xff"]
    assert answered["totals"]["RTP"]["packets"] == 12


def test_a_query_tells_tags_media_streams_and_totals() -> None:
    answered = reply(QUERY, READING)
    assert answered[b"totals"] == {
        b"RTP": {b"packets": 12, b"bytes": 12 * 172, b"errors": 2},
        b"RTCP": {b"packets": 1, b"bytes": 172, b"errors": 2},
    }
    assert (answered[b"created"], answered[b"last signal"], answered[b"SSRC"]) == (1402064111, 1402064116, {})
    assert answered[b"created_us"] == 250_000
    tag = answered[b"tags"][b"a"]
    assert (tag[b"tag"], tag[b"label"], tag[b"in dialogue with"]) == (b"a", b"caller", b"b")
    (medium,) = tag[b"medias"]
    assert (medium[b"index"], medium[b"type"], medium[b"protocol"]) == (1, b"audio", b"RTP/AVP")
    rtp, rtcp = medium[b"streams"]
    assert rtp[b"endpoint"] == {b"family": b"IPv4", b"address": b"192.0.2.1", b"port": 4000}
    assert rtp[b"advertised endpoint"] == {b"family": b"IPv6", b"address": b"2001:db8::1", b"port": 4000}
    assert rtp[b"stats"] == {b"packets": 5, b"bytes": 860, b"errors": 1}
    assert (rtp[b"flags"], rtcp[b"flags"]) == (
        [b"RTP", b"filled", b"confirmed"],
        [b"RTCP", b"filled", b"confirmed"],
    )
    assert rtp[b"local port"] == 30_000


def test_a_query_tells_what_has_been_agreed_on() -> None:
    replace = msgspec.structs.replace
    keyed = replace(
        stream(1, 5), local_address="192.0.2.9", suite="AES_CM_128_HMAC_SHA1_80", flags=("kernelized",)
    )
    streams = (keyed, stream(2, 1))
    media = (MediumReading(1, "audio", "RTP/SAVP", streams, ("send", "SDES"), "PCMU/8000"),)
    tag = replace(READING.tags[0], media=media, dialogs_with=(b"b", b"c"), branch=b"z9hG4bK")
    (answered,) = reply(QUERY, replace(READING, tags=(tag,)))[b"tags"].values()
    others = [{b"tag": each, b"type": b"offer/answer"} for each in (b"b", b"c")]
    assert (answered[b"subscriptions"], answered[b"subscribers"]) == (others, others)
    assert answered[b"via-branch"] == b"z9hG4bK"
    (medium,) = answered[b"medias"]
    assert medium[b"flags"] == [b"initialized", b"send", b"SDES"]
    assert medium[b"codec"] == b"PCMU/8000"
    rtp, rtcp = medium[b"streams"]
    assert (rtp[b"local address"], rtp[b"family"]) == (b"192.0.2.9", b"IPv4")
    assert rtp[b"crypto suite"] == b"AES_CM_128_HMAC_SHA1_80"
    assert rtp[b"flags"] == [b"RTP", b"filled", b"confirmed", b"kernelized"]
    assert not {b"local address", b"family", b"crypto suite"} & rtcp.keys()


def test_a_stream_that_strangers_sent_to_says_how_many_packets_and_where_the_latest_came_from() -> None:
    refused = msgspec.structs.replace(stream(1, 5), refused=3, refused_from="[2001:db8::66]:9999")
    media = (MediumReading(1, "audio", "RTP/AVP", (refused, stream(2, 1))),)
    tags = (msgspec.structs.replace(READING.tags[0], media=media),)
    (tag,) = reply(QUERY, msgspec.structs.replace(READING, tags=tags))[b"tags"].values()
    rtp, rtcp = tag[b"medias"][0][b"streams"]
    latest = {b"family": b"IPv6", b"address": b"2001:db8::66", b"port": 9999}
    assert rtp[b"refused"] == {b"packets": 3, b"latest": latest}
    assert b"refused" not in rtcp


def test_a_delete_tells_the_same_unless_it_shall_be_fast() -> None:
    assert reply(DELETE, READING)[b"totals"] == reply(QUERY, READING)[b"totals"]
    assert reply(payload("delete", call_id="c", flags=["fast"]), READING) == {b"result": b"ok"}
    assert reply(DELETE, Closed(1)) == {b"result": b"ok"}


def test_a_reading_without_its_details_says_so_unless_the_client_wants_none() -> None:
    short = reply(DELETE, READING.without_details())
    assert (short[b"result"], short[b"tags"], short[b"warning"]) == (b"ok", {}, SHORTENED.encode())
    assert short[b"totals"] == reply(DELETE, READING)[b"totals"]
    fast = payload("delete", call_id="c", flags=["fast"])
    assert reply(fast, READING.without_details()) == {b"result": b"ok"}


def test_deleting_what_is_not_known_is_a_warning_or_an_error() -> None:
    unknown, words = Failure("not_found", "no such call"), b"Call-ID not found or tags didn't match"
    assert reply(DELETE, unknown) == {b"result": b"ok", b"warning": words}
    assert reply(payload("delete", call_id="c", flags=["fatal"]), unknown) == {
        b"result": b"error",
        b"error-reason": words,
    }


def test_a_list_tells_call_ids() -> None:
    calls = tuple(CallSummary(call_id, 0, 1, 1, 1, 4, 0, 0) for call_id in (b"a", b"b\xff"))
    assert reply(payload("list"), CallList(calls)) == {b"result": b"ok", b"calls": [b"a", b"b\xff"]}


def test_statistics_are_those_of_the_relay_in_rtpengines_words() -> None:
    shard = ShardStats()
    shard.calls, shard.sessions_ended, shard.expired_silent, shard.expired_hold = 3, 10, 2, 1
    shard.packets_out, shard.kernel_packets, shard.drop_looped, shard.offer_ok = 50, 20, 4, 7
    shard.refused_max_calls, shard.refused_max_cpu, shard.refused_draining, shard.load_percent = 1, 2, 4, 90
    values = {
        "time": 1000.5,
        "supervisor": {"running_since": 400.0, "draining": 1},
        "totals": dataclasses.asdict(shard),
    }
    told = reply(payload("statistics"), Stats(values))
    assert told[b"result"] == b"ok"
    statistics = told[b"statistics"]
    assert (statistics[b"currentstatistics"][b"sessionsown"], statistics[b"interfaces"]) == (3, [])
    totals = statistics[b"totalstatistics"]
    assert totals[b"uptime"] == b"600"
    assert totals[b"rejectedsessions"] == 7
    assert (statistics[b"nh"][b"load_percent"], statistics[b"nh"][b"draining"]) == (90, 1)
    assert (totals[b"timeoutsessions"], totals[b"silenttimeoutsessions"]) == (2, 1)
    assert (totals[b"managedsessions"], totals[b"regularterminatedsessions"]) == (10, 7)
    assert (totals[b"relayedpackets_user"], totals[b"relayedpackets_kernel"]) == (30, 20)
    assert (totals[b"relayedpackets"], totals[b"relayedpacketerrors"]) == (50, 4)
    assert statistics[b"controlstatistics"][b"totaloffercount"] == 7


def test_blocking_is_ok() -> None:
    assert reply(payload("block media", call_id="c"), Blocked()) == {b"result": b"ok"}


def test_a_warning_names_what_was_ignored() -> None:
    assert reply(offer(flags=["fly"]), Rewritten(SDP))[b"warning"] == b"Ignored by nh: fly"


def test_what_the_relay_warns_of_is_told_with_what_was_left_out() -> None:
    wrong = Rewritten(b"v=0", "no such interface")
    assert reply(offer(), wrong)[b"warning"] == b"no such interface"
    both = reply(offer(SDES="never"), wrong)[b"warning"]
    assert both == b"Ignored by nh: SDES=never; no such interface"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("not_found", "Unknown call-id"),
        ("no_ports", "Ran out of ports"),
        ("bad_sdp", "Failed to parse SDP"),
        ("incomplete_sdp", "Incomplete SDP specification"),
        ("bad_dialogue", "Invalid dialogue association"),
        ("sdp_rewrite", "Error rewriting SDP"),
        ("unsupported", "Not supported by nh: the message"),
        ("bad_request", "the message"),
        ("internal", "the message"),
    ],
)
def test_failures_are_told_in_the_words_that_proxies_know(code: str, reason: str) -> None:
    encoded = {b"result": b"error", b"error-reason": reason.encode()}
    if b"the message" not in encoded[b"error-reason"]:
        encoded[b"message"] = b"the message"
    for supports in ([], ["load limit"]):
        assert reply(offer(supports=supports), Failure(code, "the message")) == encoded


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("limit", b"Parallel session limit reached"),
        ("draining", b"Parallel session limit reached"),
        ("unavailable", b"Load limit exceeded"),
        ("timeout", b"Load limit exceeded"),
    ],
)
def test_a_proxy_is_sent_to_another_relay_where_that_may_help(code: str, reason: bytes) -> None:
    failure = Failure(code, "shard 3 is down")
    assert reply(offer(supports=["load limit"]), failure) == {
        b"result": b"load limit",
        b"message": b"shard 3 is down",
    }
    encoded = reply(offer(), failure)
    assert (encoded[b"result"], encoded[b"error-reason"], encoded[b"message"]) == (
        b"error",
        reason,
        b"shard 3 is down",
    )


@pytest.mark.parametrize(
    "result",
    [
        Failure("unsupported", "not as A\r\n\x1b[2J"),
        Failure("bad_sdp", "not as A\r\n\x1b[2J"),
        Failure("malformed", "not as A\r\n\x1b[2J"),
        Failure("limit", "not as A\r\n\x1b[2J"),
        Rewritten(SDP, "not as A\r\n\x1b[2J"),
        Rewritten(SDP, left_out="not as A\r\n\x1b[2J"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("supports", [[], ["load limit"]], ids=["old proxy", "new proxy"])
def test_what_peers_wrote_is_one_printable_line_of_a_reply(
    result: Failure | Rewritten, supports: list[str]
) -> None:
    """Proxies log errors and warnings as they are."""
    said = reply(offer(supports=supports), result)
    texts = [said[key].decode() for key in (b"error-reason", b"message", b"warning") if key in said]
    assert any(r"not as A\x0d\x0a\x1b[2J" in text for text in texts)
    assert all(text.isprintable() for text in texts)


@pytest.mark.parametrize("name", ["offer", "query"])
def test_a_reply_that_would_be_too_long_is_shortened_or_an_error(name: str) -> None:
    limit = 400
    result: Any = Rewritten(b"x" * 500) if name == "offer" else READING
    request = decode_request(offer() if name == "offer" else QUERY)
    data = encode_reply(request, result, limit)
    assert len(data) <= limit
    assert (b"error-reason" in data) == (name == "offer")
    assert (b"totals" in data) == (name == "query")


def test_a_query_tells_the_zone_of_a_link_local_source() -> None:
    reading = StreamReading(30_000, 1, None, "[fe80::1%eth0]:4000", 1, 172, 0, 1402064124)
    tag = TagReading(b"a", "", 0, b"", (MediumReading(1, "audio", "RTP/AVP", (reading,)),))
    answered = reply(QUERY, Queried(0, 0, (tag,), StreamTotals(), StreamTotals()))
    (stream_told,) = answered[b"tags"][b"a"][b"medias"][0][b"streams"]
    assert stream_told[b"endpoint"] == {b"family": b"IPv6", b"address": b"fe80::1%eth0", b"port": 4000}
    assert stream_told[b"advertised endpoint"] == {}


WORST = StreamQuality(1402064120, 3.12, 14.6, 0.1, 81.2)
BEST = StreamQuality(1402064130, 4.38, 0.4, 0.0, 80.1)
MEAN = StreamQuality(0, 4.14, 1.26, 0.0291, 80.4, samples=7)


def queried(rtp: StreamDetail, heard: StreamDetail | None, course: tuple[StreamQuality, ...] = ()) -> Queried:
    """A call with one stream, whose sender is sent `heard`."""
    reading = StreamReading(
        30_000, 1, None, None, 100, 17_200, 0, 0, (rtp,), ssrc=rtp.ssrc, heard=heard, heard_course=course
    )
    tag = TagReading(b"a", "", 0, b"", (MediumReading(1, "audio", "RTP/AVP", (reading,)),))
    return Queried(0, 0, (tag,), StreamTotals(), StreamTotals())


def told_of(
    rtp: StreamDetail, heard: StreamDetail | None, course: tuple[StreamQuality, ...] = ()
) -> dict[bytes, Any]:
    """What a query tells of its SSRC."""
    answered = reply(QUERY, queried(rtp, heard, course))
    (medium,) = answered[b"tags"][b"a"][b"medias"]
    assert medium[b"streams"][0][b"SSRC"] == rtp.ssrc
    assert list(answered[b"SSRC"]) == [b"%d" % rtp.ssrc]
    return dict(answered[b"SSRC"][b"%d" % rtp.ssrc])


def test_a_query_tells_under_each_ssrc_what_its_sender_hears() -> None:
    own = StreamDetail(0xDEADBEEF, 0, "PCMU", 100, 0, 0, 0, 0.0, 0.1, 4.4)
    heard = StreamDetail(7, 0, "PCMU", 500, 3, 1, 0, 0.0291, 1.26, 4.14, MEAN, WORST, BEST, 30.25)
    leg = {b"round-trip time leg": 30250}
    worst = {b"MOS": 31, b"jitter": 15, b"packet loss": 10, b"round-trip time": 81200}
    best = {b"MOS": 44, b"jitter": 0, b"packet loss": 0, b"round-trip time": 80100}
    mean = {b"MOS": 41, b"jitter": 1, b"packet loss": 3, b"round-trip time": 80400}
    assert told_of(own, heard, (WORST, BEST)) == {
        b"packets": 100,
        b"cumulative loss": 3,
        b"average MOS": {**mean, **leg, b"samples": 7},
        b"lowest MOS": {**worst, **leg, b"reported at": 1402064120},
        b"highest MOS": {**best, **leg, b"reported at": 1402064130},
        b"MOS progression": {
            b"interval": 10,
            b"entries": [
                {**worst, **leg, b"reported at": 1402064120},
                {**best, **leg, b"reported at": 1402064130},
            ],
        },
    }


def test_the_progression_of_a_short_stream_has_its_only_figure() -> None:
    own = StreamDetail(0xDEADBEEF, 0, "PCMU", 100, 0, 0, 0, 0.0, 0.1, 4.4)
    short = StreamQuality(5, 4.0, 1.0, 0.0)
    heard = StreamDetail(7, 0, "PCMU", 60, 0, 0, 0, 0.0, 1.0, 4.0, short, short, short)
    only = {b"MOS": 40, b"jitter": 1, b"packet loss": 0, b"reported at": 5}
    assert told_of(own, heard)[b"MOS progression"] == {b"interval": 0, b"entries": [only]}


def test_a_long_reply_loses_progressions_before_its_details() -> None:
    heard = StreamDetail(7, 0, "PCMU", 500, 3, 1, 0, 0.0291, 1.26, 4.14, MEAN, WORST, BEST, 30.25)
    long = queried(heard, heard, (BEST,) * 10)
    request = decode_request(QUERY)
    limit = len(encode_reply(request, long, 65_000)) - 1
    answered: Any = bencode.decode(encode_reply(request, long, limit))
    (told,) = answered[b"SSRC"].values()
    assert len(told[b"MOS progression"][b"entries"]) == 1


def test_a_long_reply_with_an_sdp_says_only_that_it_has_warnings() -> None:
    warned = Rewritten(SDP, "no such interface; " * 20)
    data = encode_reply(decode_request(offer()), warned, len(SDP) + 200)
    assert bencode.decode(data) == {b"result": b"ok", b"sdp": SDP, b"warning": UNWARNED.encode()}


def test_a_query_tells_no_round_trip_and_no_mos_where_there_is_none() -> None:
    own = StreamDetail(0xDEADBEEF, 96, "", 100, 3, 1, 0, 0.0291, None, None)
    assert told_of(own, None) == {b"packets": 100, b"cumulative loss": 0}
    assert told_of(own, own) == {b"packets": 100, b"cumulative loss": 3}
    short = StreamQuality(5, 4.0, 1.0, 0.0)
    heard = StreamDetail(7, 0, "PCMU", 60, 0, 0, 0, 0.0, 1.0, 4.0, short, short, short)
    assert told_of(own, heard)[b"average MOS"] == {b"MOS": 40, b"jitter": 1, b"packet loss": 0, b"samples": 1}


def test_a_stream_without_rtp_has_no_ssrc() -> None:
    (medium,) = reply(QUERY, READING)[b"tags"][b"a"][b"medias"]
    assert [b"SSRC" in each for each in medium[b"streams"]] == [False, False]
