"""Clients for Node.js: drachtio's rtpengine-client over UDP and TCP, and jambonz with its own options."""

from collections.abc import Iterator

import pytest

from tests.ng.client import Reply
from tests.ng.ng_call import SDP, End, talk
from tests.ng.node_clients import NodeClients, running_node_clients
from tests.ng.relays import NgRelay, call_ids
from tests.sip.message import new_token
from tests.sip.sdp import write_sdp

pytestmark = pytest.mark.node

PLAIN = {
    "transport protocol": "RTP/AVP",
    "DTLS": "off",
    "SDES": "off",
    "ICE": "remove",
    "flags": ["media handover", "port latching", "inject DTMF"],
    "rtcp-mux": ["demux"],
}
"""What jambonz asks of a leg of plain RTP."""

COMMON = {"replace": ["origin", "session-connection"], "record call": "no"}
"""What it sends with each offer and answer."""

ORDER = {"codec": {"offer": ["PCMU", "PCMA"], "strip": "all"}}
"""What it adds to offers where its operator gives the order of codecs."""

ANSWER = {"flags": ["single codec", "inject DTMF", "reuse codecs"]}
"""The flags of its answers."""


@pytest.fixture(scope="module", params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def relay(request: pytest.FixtureRequest) -> NgRelay:
    running: NgRelay = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="module")
def clients(relay: NgRelay) -> Iterator[NodeClients]:
    with running_node_clients(relay.address) as clients:
        yield clients


def ok(reply: Reply) -> Reply:
    assert reply["result"] == "ok", reply
    return reply


@pytest.mark.parametrize("client", ["udp", "tcp", "jambonz"])
def test_a_call_of_each_client(clients: NodeClients, client: str, alice: End, bob: End) -> None:
    tags = {"call_id": new_token(), "from_tag": "a", "to_tag": "b"}
    offer = {name: value for name, value in tags.items() if name != "to_tag"}
    assert clients.ask(client, "ping") == {"result": "pong"}
    bob.read(ok(clients.ask(client, "offer", **offer, sdp=write_sdp(alice.describe())))["sdp"])
    alice.read(ok(clients.ask(client, "answer", **tags, sdp=write_sdp(bob.describe())))["sdp"])
    talk(alice, bob)
    assert tags["call_id"] in ok(clients.ask(client, "list", limit=1000))["calls"]
    assert ok(clients.ask(client, "query", **tags))["totals"]["RTP"]["packets"] == 2
    for method in ("blockDTMF", "unblockDTMF", "blockMedia", "unblockMedia"):
        ok(clients.ask(client, method, **offer))
    assert ok(clients.ask(client, "statistics"))["statistics"]["currentstatistics"]["sessionstotal"] >= 0
    ok(clients.ask(client, "delete", **tags, delete_delay=0))
    assert clients.ask(client, "query", **tags)["error-reason"] == "Unknown call-id"


def test_jambonz_connects_a_call_with_its_own_options(
    clients: NodeClients, relay: NgRelay, alice: End, bob: End
) -> None:
    tags = {"call_id": new_token(), "from_tag": "a"}
    offered = clients.ask(
        "jambonz", "offer", **tags, **COMMON, **PLAIN, **ORDER, sdp=write_sdp(alice.describe())
    )
    bob.read(ok(offered)["sdp"])
    answered = clients.ask(
        "jambonz",
        "answer",
        **tags,
        to_tag="b",
        **{**COMMON, **PLAIN, **ANSWER},
        sdp=write_sdp(bob.describe()),
    )
    alice.read(ok(answered)["sdp"])
    if relay.name == "nh":  # rtpengine decodes speech where DTMF may be injected
        talk(alice, bob)
    ok(clients.ask("jambonz", "delete", **tags))


def test_jambonz_offers_without_an_sdp(clients: NodeClients) -> None:
    """An INVITE without SDP: the offer follows in its response."""
    ok(clients.ask("jambonz", "offer", call_id=new_token(), from_tag="a", **COMMON, **PLAIN, sdp=""))


def test_jambonz_counts_the_calls(clients: NodeClients, relay: NgRelay) -> None:
    """Its scale-in ends a host without calls, and takes a reply that is no `ok` for none."""
    call_id = new_token()
    ok(clients.ask("jambonz", "offer", call_id=call_id, from_tag="a", sdp=SDP))

    def counted() -> int:
        told = clients.ask("jambonz", "resourceCount")
        assert (told["host"], told["resource"]) == ("127.0.0.1", "media.calls")
        return int(told["count"])

    # the figures of a relay are of the last half second, and others' calls come and go
    for _ in range(30):
        if counted() == len(call_ids(relay)):
            break
    else:
        pytest.fail("the calls are not counted")
    ok(clients.ask("jambonz", "delete", call_id=call_id, delete_delay=0))


def test_what_nh_does_not_do_has_its_reason(nh: NgRelay) -> None:
    with running_node_clients(nh.address) as clients:
        for method in ("playMedia", "playDTMF", "subscribeRequest", "startRecording"):
            refused = clients.ask("jambonz", method, call_id="c", from_tag="a")
            assert refused["error-reason"].startswith("Not supported by nh: ")
