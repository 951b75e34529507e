"""What the relay tells of its calls, and media that it blocks: nh and rtpengine."""

import struct
from collections.abc import Iterator

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import AUDIO, End, NgCall, say, talk, with_events
from tests.ng.relays import NgRelay
from tests.ng.reported_call import ReportingEnd, talk_and_report
from tests.sip.proxy import FAR
from tools.harness.media_peer import RTCP, RTP
from tools.harness.waiting import eventually


def test_a_query_counts_packets_and_names_ports(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    bob.media[0].send(b"0123456789", bob.remote[0].target, RTP)
    assert alice.media[0].receive(RTP)[0] == b"0123456789"
    reply = call.query()
    assert (reply["totals"]["RTP"]["packets"], reply["totals"]["RTCP"]["packets"]) == (3, 2)
    assert reply["totals"]["RTP"]["bytes"] == 3 * 12 + len("alice on 0.0" + "bob on 0.0" + "0123456789")
    assert set(reply["tags"]) == {call.from_tag, call.to_tag}
    [medium] = reply["tags"][call.from_tag]["medias"]
    rtp, rtcp = medium["streams"]
    assert medium["type"] == "audio"
    assert rtp["local port"] == alice.remote[0].port
    assert rtp["endpoint"] == {"family": "IPv4", "address": "127.0.0.1", "port": alice.media[0].port}
    assert rtp["stats"]["packets"] == 1
    assert rtcp["local port"] == rtp["local port"] + RTCP


def test_a_query_tells_when_the_last_packet_came(call: NgCall, alice: End, bob: End) -> None:
    """nh looks at the clock once in a while, not with each packet."""
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)

    def last_packet() -> bool:
        reply = call.query()
        [medium] = reply["tags"][call.from_tag]["medias"]
        return bool(medium["streams"][RTP]["last packet"] >= reply["created"])

    eventually(last_packet, "the last packet has a time")


@pytest.mark.parametrize("tags", [("from_tag",), ("to_tag",), ("from_tag", "to_tag")], ids="+".join)
def test_a_query_with_tags_tells_of_both_ends(
    call: NgCall, alice: End, bob: End, tags: tuple[str, ...]
) -> None:
    """Kamailio's $rtpstat asks with both tags; its totals are those of the whole dialog."""
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)
    named = dict(zip(("from_tag", "to_tag"), (getattr(call, tag) for tag in tags), strict=False))
    reply = call.client.get("query", call_id=call.call_id, **named)
    assert set(reply["tags"]) == {call.from_tag, call.to_tag}
    assert (reply["totals"]["RTP"]["packets"], reply["totals"]["RTCP"]["packets"]) == (2, 2)


def test_a_list_is_as_long_as_asked(client: NgClient) -> None:
    calls = [NgCall(client) for _ in range(34)]
    for call in calls:
        call.offer(AUDIO)
    assert len(client.get("list")["calls"]) == 32
    assert len(client.get("list", limit=5)["calls"]) == 5
    assert {call.call_id for call in calls} <= set(client.get("list", limit="1000")["calls"])
    for call in calls:
        call.delete()


def test_a_call_as_opensips_asks_for_it(client: NgClient, alice: End, bob: End) -> None:
    """No `supports`, keys with spaces, always `received-from`, no tags at the end."""
    source = {"received-from": ["IP4", "127.0.0.1"], "address family": "IP4"}
    call = NgCall(client)
    bob.read(call.offer(alice.describe(), direction=["near", "far"], replace=["origin"], **source))
    alice.read(call.answer(bob.describe(), replace=["origin"], **source))
    talk(alice, bob)
    assert (
        client.request("delete", **{"call-id": call.call_id, "delete-delay": 0, **source})["result"] == "ok"
    )
    assert not call.is_known()


def test_a_delete_tells_what_a_query_tells(answered: NgCall) -> None:
    reply = answered.delete(from_tag=answered.from_tag)
    assert reply["totals"]["RTP"] == {"packets": 0, "bytes": 0, "errors": 0}


def test_blocked_media_are_dropped(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob, [RTP])
    call.client.get("block media", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send(b"unheard", alice.remote[0].target)
    # behind it through the same process: RTP may go through the kernel, the first RTCP never does
    bob.media[0].send(b"heard", bob.remote[0].target, RTCP)
    assert alice.media[0].receive(RTCP)[0] == b"heard"
    call.client.get("unblock media", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send(b"heard again", alice.remote[0].target)
    assert bob.media[0].receive()[0] == b"heard again"


@pytest.fixture
def far_bob() -> Iterator[End]:
    end = End("bob", FAR)
    yield end
    end.close()


@pytest.mark.parametrize("selector", ["label", "from_label", "address"])
def test_an_end_is_blocked_by_what_the_client_knows_of_it(
    call: NgCall, alice: End, far_bob: End, selector: str
) -> None:
    bob = far_bob
    bob.read(call.offer(alice.describe(), label="alice"))
    alice.read(call.answer(bob.describe(), label="bob"))
    talk(alice, bob, [RTP])
    named = {selector: FAR if selector == "address" else "bob"}
    call.client.get("block media", call_id=call.call_id, **named)
    bob.media[0].send(b"unheard", bob.remote[0].target)
    # behind it through the same process: RTP may go through the kernel, the first RTCP never does
    alice.media[0].send(b"heard", alice.remote[0].target, RTCP)
    assert bob.media[0].receive(RTCP)[0] == b"heard"
    say(alice, bob)
    call.client.get("unblock media", call_id=call.call_id, **named)
    bob.media[0].send(b"heard again", bob.remote[0].target)
    assert alice.media[0].receive()[0] == b"heard again"


@pytest.mark.parametrize("named", [{"label": "carol"}, {"address": "192.0.2.99"}], ids=["label", "address"])
def test_an_end_that_is_not_there_is_not_blocked(answered: NgCall, named: dict[str, str]) -> None:
    reply = answered.client.request("block media", call_id=answered.call_id, **named)
    assert reply["result"] == "error"


def test_blocked_dtmf_is_dropped_and_the_audio_goes_on(call: NgCall, alice: End, bob: End) -> None:
    bob.read(call.offer(with_events(alice)))
    alice.read(call.answer(with_events(bob)))
    talk(alice, bob, [RTP])
    to = alice.remote[0].target

    def packet(payload_type: int, sequence: int) -> bytes:
        header = struct.pack("!BBHII", 0x80, payload_type, sequence, sequence * 160, 0xA1)
        return header + struct.pack("!BBH", 5, 10, 160)  # an event's: digit, volume, duration

    call.client.get("block DTMF", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send_raw(packet(101, 10), to)
    alice.media[0].send_raw(packet(0, 11), to)
    assert bob.media[0].receive()[0] == packet(0, 11)
    call.client.get("unblock DTMF", call_id=call.call_id, from_tag=call.from_tag)
    alice.media[0].send_raw(packet(101, 12), to)
    assert bob.media[0].receive()[0] == packet(101, 12)


ALICE, BOB = 0xA1, 0xB2


def test_the_quality_of_an_end_is_found_by_the_ssrc_of_its_stream(
    relay: NgRelay, call: NgCall, alice: End, bob: End
) -> None:
    """As OpenSIPS and Kamailio look for it; under an SSRC is what its sender hears."""
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    ends = [
        ReportingEnd(end.media[0], end.remote[0].target, ssrc) for end, ssrc in ((alice, 0xA1), (bob, 0xB2))
    ]
    talk_and_report(*ends, lost=12)
    reply = call.query()
    heard = reply["SSRC"]
    for tag, ssrc in ((call.from_tag, "161"), (call.to_tag, "178")):
        [medium] = reply["tags"][tag]["medias"]
        assert medium["streams"][0]["SSRC"] == int(ssrc)
        if ssrc == "178" and relay.name == "rtpengine":
            continue
        for which in ("average MOS", "lowest MOS", "highest MOS"):
            figures = heard[ssrc][which]
            assert 0 < figures["round-trip time leg"] < figures["round-trip time"] < 5_000_000
            assert {"MOS", "jitter", "packet loss"} <= set(figures)
        assert heard[ssrc]["average MOS"]["samples"] == 1
        assert heard[ssrc]["lowest MOS"]["reported at"] == heard[ssrc]["highest MOS"]["reported at"] > 0
        progression = heard[ssrc]["MOS progression"]
        assert progression["interval"] == 0
        assert progression["entries"] == [heard[ssrc]["lowest MOS"]]
    assert heard["161"]["average MOS"]["packet loss"] in (9, 10)
    if relay.name == "nh":
        assert heard["178"]["average MOS"]["packet loss"] == 0
        # how high they are depends on the jitter, which a busy host adds
        assert heard["161"]["average MOS"]["MOS"] < heard["178"]["average MOS"]["MOS"] <= 45
