"""What an ng client has blocked or silenced stays so when the call's shard is killed."""

import struct

import psutil

from tests.calls.rtp import DTMF
from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall, talk, with_events
from tests.ng.relays import running_nh
from tools.harness.waiting import eventually

AUDIO, EVENT = 0, DTMF


def packet(payload_type: int, sequence: int) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence, 160 * sequence, 0xA1) + bytes(4)


def test_what_is_blocked_of_a_restored_call_stays_blocked_until_it_is_unblocked() -> None:
    alice, bob = End("alice"), End("bob")
    try:
        with running_nh(shards=1, kernel="off") as relay, NgClient(relay.address) as client:
            call = NgCall(client)
            bob.read(call.offer(with_events(alice)))
            alice.read(call.answer(with_events(bob)))
            talk(alice, bob)
            to = alice.remote[0].target
            client.get("block DTMF", call_id=call.call_id, from_tag=call.from_tag)
            client.get("silence media", call_id=call.call_id, from_tag=call.from_tag)
            children = psutil.Process(relay.program.pid).children(recursive=True)
            for child in children:
                child.kill()
            eventually(lambda: not any(child.is_running() for child in children), "the shard is gone")
            eventually(call.is_known, "the call is back")
            alice.media[0].send_raw(packet(EVENT, 1), to)
            alice.media[0].send_raw(packet(AUDIO, 2), to)
            assert bob.media[0].receive()[0] == packet(AUDIO, 2)[:-4] + b"\xff" * 4
            client.get("unsilence media", call_id=call.call_id)
            alice.media[0].send_raw(packet(AUDIO, 3), to)
            assert bob.media[0].receive()[0] == packet(AUDIO, 3)
            client.get("unblock DTMF", call_id=call.call_id)
            alice.media[0].send_raw(packet(EVENT, 4), to)
            assert bob.media[0].receive()[0] == packet(EVENT, 4)
    finally:
        alice.close()
        bob.close()
