"""statistics: rtpengine's structure, with the calls that are there (jambonz scales by them)."""

from typing import Any

import pytest

from tests.ng.client import BENCODE, JSON, NgClient
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay, call_ids
from tools.harness.waiting import eventually


def shape(value: Any) -> Any:
    """Names and types of a reply; what is in lists depends on the host."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return type(value).__name__


@pytest.mark.rtpengine
def test_the_structure_is_rtpengines_but_for_a_section_of_nh(nh: NgRelay, rtpengine: NgRelay) -> None:
    for encoding in (BENCODE, JSON):
        with NgClient(nh.address, encoding) as ours, NgClient(rtpengine.address, encoding) as theirs:
            reply = ours.get("statistics")
            of_nh = reply["statistics"].pop("nh")
            assert shape(reply) == shape(theirs.get("statistics"))
            assert shape(of_nh) == dict.fromkeys(
                ("load_percent", "cpu_percent", "byte_rate", "at_limit", "draining"), "int"
            )


def test_calls_and_packets_are_counted(relay: NgRelay, client: NgClient, alice: End, bob: End) -> None:
    def statistics() -> Any:
        return client.get("statistics")["statistics"]

    def calls_are_those_of_the_list() -> bool:
        current = statistics()["currentstatistics"]
        return bool(current["sessionstotal"] == current["sessionsown"] == len(call_ids(relay)))

    before = statistics()
    call = NgCall(client)
    bob.read(call.offer(alice.describe()))
    alice.read(call.answer(bob.describe()))
    talk(alice, bob)

    def counted() -> bool:
        now = statistics()
        return all(
            now[section][name] >= before[section][name] + more
            for section, name, more in (
                ("totalstatistics", "relayedpackets", 4),
                ("controlstatistics", "totaloffercount", 1),
                ("controlstatistics", "totalanswercount", 1),
            )
        )

    eventually(counted, "the packets and commands counted")
    eventually(calls_are_those_of_the_list, "the call counted")
    call.delete()
    eventually(calls_are_those_of_the_list, "no call counted that has ended")
