"""statistics: rtpengine's structure, with the calls that are there (jambonz scales by them)."""

from typing import Any

import pytest

from tests.ng.client import BENCODE, JSON, NgClient
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay
from tools.harness.waiting import eventually


def shape(value: Any) -> Any:
    """Names and types of a reply; what is in lists depends on the host."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return type(value).__name__


@pytest.mark.rtpengine
def test_the_structure_is_rtpengines(nh: NgRelay, rtpengine: NgRelay) -> None:
    for encoding in (BENCODE, JSON):
        with NgClient(nh.address, encoding) as ours, NgClient(rtpengine.address, encoding) as theirs:
            assert shape(ours.get("statistics")) == shape(theirs.get("statistics"))


def test_calls_and_packets_are_counted(client: NgClient, alice: End, bob: End) -> None:
    def statistics() -> Any:
        return client.get("statistics")["statistics"]

    before = statistics()
    call = NgCall(client)
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)

    def counted() -> bool:
        now = statistics()
        relayed = "relayedpackets"
        return bool(
            now["currentstatistics"]["sessionstotal"] == before["currentstatistics"]["sessionstotal"] + 1
            and now["currentstatistics"]["sessionsown"] == before["currentstatistics"]["sessionsown"] + 1
            and now["totalstatistics"][relayed] >= before["totalstatistics"][relayed] + 4
            and now["controlstatistics"]["totaloffercount"] > before["controlstatistics"]["totaloffercount"]
        )

    eventually(counted, "the call and its packets counted")
    call.delete()
    eventually(
        lambda: (
            statistics()["currentstatistics"]["sessionstotal"] == before["currentstatistics"]["sessionstotal"]
        ),
        "no call left",
    )
