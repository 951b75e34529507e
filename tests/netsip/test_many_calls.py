"""2,000 calls at once, set up by the Perl client on two shards, relaying, closed: nothing is left of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.netsip.perl_helper import PerlHelperClient
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.perl, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(900)]

CALLS = 2000
SOCKETS_PER_CALL = 4
BATCH = 20
"""How many packets are under way at once: far fewer than a receive buffer holds."""

FIRST_ROUNDS = 2
"""In these, allocators come to keep room for so many calls."""

MAX_ROUNDS = 6
"""A round may take again what was given back to the system before it. A leak would be in each."""

LEAK_BYTES = CALLS * 1024
"""Far less than what the relay knows of a call: rounds that each keep as much have leaked something."""

Target = tuple[str, int]


@pytest.fixture
def roomy_relay() -> Iterator[Relay]:
    # rendezvous hashing is even only on the whole: leave each shard a tenth more than its half
    # on a busy host the first call waits for its packets until all are set up
    with running_relay(ports=CALLS * SOCKETS_PER_CALL * 11 // 10, silent_s=600) as running:
        yield running


def nat_basic(number: int, cseq: str | None = "1") -> list[Any]:
    return [f"call-{number}@example.org", cseq, f"sip:a\0{number}\0near", f"sip:b\0{number}\0far", "", ""]


def set_up(helper: PerlHelperClient, number: int, alice: MediaPeer, bob: MediaPeer) -> tuple[Target, Target]:
    """The relay's targets for alice and for bob."""
    call = nat_basic(number)
    [[far, to_alice, _]] = helper.allocate(call, 0, write_sdp([MediaLine(alice.address, alice.port)]))
    [[near, to_bob, _]] = helper.allocate(call, 1, write_sdp([MediaLine(bob.address, bob.port)]))
    assert helper.activate(call) == 1
    return (near, to_bob), (far, to_alice)


def send_one_each(sender: MediaPeer, targets: Sequence[Target], receiver: MediaPeer, component: int) -> None:
    """One packet to every target, all of which have to come out at `receiver`."""
    for start in range(0, len(targets), BATCH):
        batch = targets[start : start + BATCH]
        expected = {f"{component} {port}".encode() for _, port in batch}
        for target in batch:
            sender.send(f"{component} {target[1]}".encode(), target, component)
        assert {receiver.receive(component)[0] for _ in batch} == expected


def relay_all(helper: PerlHelperClient, numbers: range) -> None:
    """The calls of `numbers` from their first allocate to their BYE, all at once."""
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        targets = [set_up(helper, number, alice, bob) for number in numbers]
        for component in (RTP, RTCP):
            send_one_each(alice, [towards_bob for towards_bob, _ in targets], bob, component)
            send_one_each(bob, [towards_alice for _, towards_alice in targets], alice, component)
        for number in numbers:
            assert helper.close_session(nat_basic(number, None)) == 1


def test_2000_calls_leave_nothing_behind(roomy_relay: Relay) -> None:
    relay = roomy_relay

    def wait_until_closed(calls: int) -> None:
        eventually(
            lambda: relay.stats().totals.sessions_ended == calls and relay.all_ports_are_free(),
            f"{calls} calls are closed and all ports are free",
        )

    with PerlHelperClient(relay.unix_address) as helper:
        descriptors = relay.descriptors()
        grown: list[int] = []
        while len(grown) <= FIRST_ROUNDS or (grown[-1] >= LEAK_BYTES and len(grown) < MAX_ROUNDS):
            begin, before = len(grown) * CALLS, relay.memory_bytes()
            relay_all(helper, range(begin, begin + CALLS))
            wait_until_closed(begin + CALLS)
            relay.wait_until_idle(descriptors)
            grown.append(relay.memory_bytes() - before)
        assert grown[-1] < LEAK_BYTES, f"what each round left behind: {grown}"

        totals = relay.stats().totals
        assert totals.sessions_started == len(grown) * CALLS
        assert totals.packets_out == len(grown) * CALLS * SOCKETS_PER_CALL
        assert (totals.calls, totals.sessions, totals.sockets) == (0, 0, 0)
        assert all(shard.packets_out for shard in relay.stats().shards)
