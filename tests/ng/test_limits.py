"""A relay with no room for a call: what it says makes a proxy take another one. nh and rtpengine."""

import itertools
from collections.abc import Iterator

import pytest

from tests.ng.client import JSON, NgClient, NgError, reason
from tests.ng.ng_call import AUDIO, SDP, End, NgCall, talk
from tests.ng.relays import call_ids, drain, running_ng_relay, running_nh
from tests.sip.message import new_token
from tests.sip.sdp import MediaLine
from tools.harness.waiting import eventually


@pytest.fixture(params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def full(request: pytest.FixtureRequest) -> Iterator[NgClient]:
    """A relay with one call, which may not have more."""
    with running_ng_relay(request.param, max_calls=1) as relay, NgClient(relay.address) as client:
        NgCall(client).offer(AUDIO)
        yield client


def test_a_full_relay_says_so(full: NgClient) -> None:
    offer = {"call_id": new_token(), "from_tag": "f", "sdp": SDP}
    assert reason(full.request("offer", **offer)) == "Parallel session limit reached"
    reply = full.request("offer", supports=["load limit"], **offer)
    assert reply["result"] == "load limit"
    assert reply["message"]


def test_calls_of_a_full_relay_go_on(full: NgClient) -> None:
    [known] = full.get("list")["calls"]
    assert full.request("offer", call_id=known, from_tag="f", sdp=SDP)["result"] == "ok"
    assert reason(full.request("offer", call_id="new", from_tag="f", sdp=SDP))
    full.get("delete", call_id=known, delete_delay=0)
    assert full.request("offer", call_id="new", from_tag="f", sdp=SDP)["result"] == "ok"


def test_a_draining_relay_says_what_a_full_one_says() -> None:
    with running_nh() as relay, NgClient(relay.address) as client:
        call = NgCall(client)
        call.offer(AUDIO)
        drain(relay)
        offer = {"call_id": new_token(), "from_tag": "f", "sdp": SDP}
        assert reason(client.request("offer", **offer)) == "Parallel session limit reached"
        reply = client.request("offer", supports=["load limit"], **offer)
        assert (reply["result"], "draining" in reply["message"]) == ("load limit", True)
        call.answer(AUDIO)
        call.offer(AUDIO)
        client.get("delete", call_id=call.call_id, delete_delay=0)
        assert relay.program.wait() == 0


def test_a_relay_at_a_load_limit_refuses_new_calls_until_its_load_is_less(alice: End, bob: End) -> None:
    with running_nh(shards=1, max_bandwidth=1) as relay, NgClient(relay.address) as client:
        known, offer = NgCall(client), {"from_tag": "f", "sdp": SDP, "supports": ["load limit"]}
        bob.read(known.offer(alice.describe()))
        alice.read(known.answer(bob.describe()))

        def refused_while_they_talk() -> str:
            talk(alice, bob)
            call_id = new_token()
            reply = client.request("offer", call_id=call_id, **offer)
            if reply["result"] == "ok":
                client.get("delete", call_id=call_id, delete_delay=0)
            return str(reply.get("message", ""))

        why = eventually(refused_while_they_talk, "new calls are refused")
        assert why.startswith("max_bandwidth is reached: this shard receives ")
        alice.read(known.answer(bob.describe()))  # calls that it has go on

        def taken() -> bool:
            return bool(client.request("offer", call_id="new", **offer)["result"] == "ok")

        eventually(taken, "new calls are taken, because nothing arrives")

        def told() -> bool:
            statistics = client.get("statistics")["statistics"]
            rejected = statistics["totalstatistics"]["rejectedsessions"]
            return bool(rejected >= 1 and statistics["nh"]["at_limit"] == 0)

        eventually(told, "the statistics tell of it")


@pytest.mark.parametrize("name", ["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def test_calls_that_find_no_ports_are_refused(name: str) -> None:
    with running_ng_relay(name, ports=8) as relay, NgClient(relay.address, JSON) as client:
        with pytest.raises(NgError, match="Ran out of ports"):
            for number in itertools.count():
                NgCall(client).offer([MediaLine("127.0.0.1", 40_000 + 2 * number)])
        for call_id in call_ids(relay):
            client.get("delete", call_id=call_id, delete_delay=0)
        NgCall(client).offer(AUDIO)


@pytest.mark.parametrize("name", ["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def test_an_offer_that_is_taken_has_ports_for_its_answer(name: str) -> None:
    """A proxy can turn to another relay with an offer, not with its answer."""
    with running_ng_relay(name, ports=12) as relay, NgClient(relay.address) as client:
        taken: list[NgCall] = []
        with pytest.raises(NgError, match="Ran out of ports"):
            for number in itertools.count():
                call = NgCall(client)
                call.offer([MediaLine("127.0.0.1", 40_000 + 2 * number)])
                taken.append(call)
        for call in taken:
            call.answer([MediaLine("127.0.0.1", 50_000)])
