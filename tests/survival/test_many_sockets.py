"""An upgrade of calls with more sockets than the supervisor has descriptors: none is closed, none is lost."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import Final

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, TransactionKey
from nh.results import Activated
from tools.harness.call import LOOPBACK
from tools.harness.command import nh_ok
from tools.harness.deployment import SHARDS, calls_of, has_ended
from tools.harness.media_peer import MediaPeer
from tools.harness.relay import Place, Relay, place_for_relay
from tools.harness.waiting import TIMEOUT_S, eventually

DESCRIPTORS: Final = 256
MEDIA: Final = 10
CALLS: Final = 4
"""Of each shard: 160 sockets, and 320 together."""

LIMITED: Final = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
AS_OTHERS: Final = ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")
"""Runs a command that may not raise its own limits, as root may."""


class LargeCall:
    """A call between two phones with MEDIA media, of which the first is heard."""

    def __init__(self, relay: Relay, call_id: bytes) -> None:
        self.call_id = call_id
        self._phones = MediaPeer(LOOPBACK), MediaPeer(LOOPBACK)
        key = TransactionKey(call_id, 1, b"alice", b"bob")
        self.ports: list[int] = []
        with NativeClient(relay.unix_address, TIMEOUT_S) as client:
            for side, phone in zip(Side, self._phones, strict=True):
                media = (Media(phone.address, phone.port, 2, "RTP/AVP", "audio"),) * MEDIA
                allocated = client.request(Allocate(key, side, LOOPBACK, media)).media
                self.ports.append(allocated[0].port)
            assert client.request(Activate(key)) == Activated(True)

    def talk(self, payload: bytes) -> None:
        """A packet goes either way."""
        for phone, port, other, by in zip(
            self._phones, reversed(self.ports), reversed(self._phones), self.ports, strict=True
        ):
            phone.send(payload, (LOOPBACK, port))
            assert other.receive(0) == (payload, (LOOPBACK, by))

    def hang_up(self) -> None:
        """Close the phones."""
        for phone in self._phones:
            phone.close()


@contextlib.contextmanager
def limited_relay() -> Iterator[Relay]:
    wrapped_in = (*(AS_OTHERS if os.geteuid() == 0 else ()), *LIMITED)
    with place_for_relay(SHARDS * (CALLS + 1) * 4 * MEDIA) as place:
        relay = Relay(place, SHARDS, wrapped_in=wrapped_in)
        with relay.program as program:
            relay.wait_until_ready()
            yield relay
            assert program.stop() == 0


def make_calls(relay: Relay, stack: contextlib.ExitStack) -> list[LargeCall]:
    calls = []
    for shard in range(SHARDS):
        for call_id in itertools.islice(calls_of(shard), CALLS):
            calls.append(LargeCall(relay, call_id))
            stack.callback(calls[-1].hang_up)
            calls[-1].talk(b"before")
    return calls


def test_an_upgrade_of_more_sockets_than_the_supervisor_has_descriptors_costs_no_call() -> None:
    with limited_relay() as relay, contextlib.ExitStack() as stack:
        calls = make_calls(relay, stack)
        assert relay.descriptors() > SHARDS * CALLS * MEDIA * 4 > DESCRIPTORS
        shards = relay.shard_processes()
        nh_ok(Place(relay.directory, relay.ports, 0), "upgrade")
        eventually(lambda: all(map(has_ended, shards)), "the shards before are gone")
        for call in calls:
            call.talk(b"after")
        assert " ERROR " not in relay.program.output
