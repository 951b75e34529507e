"""One relayed call under each loop that nh can live in: its own, asyncio's, and uvloop's."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from nh.asyncio_loop import AsyncioLoop
from nh.calls.events import CallObserver
from nh.calls.media import Media, RelayMedia, Side
from nh.calls.settings import RelayConfig
from nh.commands import TransactionKey
from nh.loop import Loop, SelectorLoop
from nh.shard.relay import Relay
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.ports import claim_ports
from tools.harness.waiting import TIMEOUT_S, turn_until

RELAY = "127.0.0.1"
KEY = TransactionKey(b"call", 1, b"alice", b"bob")

Wait = Callable[[Callable[[], bool]], None]
"""Turns the loop until a condition holds."""


def _selector_loop() -> Iterator[tuple[Loop, Wait]]:
    loop = SelectorLoop()

    yield loop, lambda condition: turn_until(loop, condition)
    loop.close()


def _asyncio_loop(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[Loop, Wait]]:
    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.002)

    def wait(condition: Callable[[], bool]) -> None:
        loop.run_until_complete(asyncio.wait_for(until(condition), TIMEOUT_S))

    yield AsyncioLoop(loop), wait
    loop.close()


@pytest.fixture(params=["selectors", "asyncio", "uvloop"])
def looped(request: pytest.FixtureRequest) -> Iterator[tuple[Loop, Wait]]:
    if request.param == "selectors":
        yield from _selector_loop()
    elif request.param == "asyncio":
        yield from _asyncio_loop(asyncio.new_event_loop())
    else:
        yield from _asyncio_loop(uvloop.new_event_loop())


@pytest.fixture
def relay() -> Iterator[Relay]:
    with claim_ports(100) as ports:
        relay = Relay(RelayConfig(ports=(ports[0], ports[-1])))
        yield relay
        relay.close()


def _media(peer: MediaPeer) -> list[Media]:
    return [Media(peer.address, peer.port, 2, "RTP/AVP", "audio")]


def test_a_call_is_relayed_both_ways_and_counted(looped: tuple[Loop, Wait], relay: Relay) -> None:
    loop, wait = looped
    relay.attach(loop)
    with MediaPeer("127.0.0.11") as alice, MediaPeer("127.0.0.22") as bob:
        (for_bob,) = relay.allocate_sockets(KEY, Side.FROM, RELAY, _media(alice))
        (for_alice,) = relay.allocate_sockets(KEY, Side.TO, RELAY, _media(bob))
        assert relay.activate_session(KEY)
        for peer in (alice, bob):
            for sock in peer.sockets:
                sock.setblocking(False)

        def passes(sender: MediaPeer, to: RelayMedia, receiver: MediaPeer, component: int) -> None:
            arrived: list[bytes] = []
            sender.send(b"hello", (to.address, to.port), component)

            def look() -> bool:
                arrived.extend(receiver.pending(component))
                return bool(arrived)

            wait(look)
            assert arrived == [b"hello"]

        for _ in range(5):
            for component in (RTP, RTCP):
                passes(alice, for_alice, bob, component)
                passes(bob, for_bob, alice, component)
        wait(lambda: relay.stats.packets_out == 20)
        assert len(relay.close_session(KEY)) == 1
    relay.close()
    assert relay.stats.ports_free == relay.stats.ports_total


class Housekeeping(CallObserver):
    """Notes each turn.

    Args:
        turns: where to note it.
    """

    def __init__(self, turns: list[float]) -> None:
        self.turns = turns

    def housekeeping(self, now: float) -> None:
        self.turns.append(now)


def test_a_helper_leaves_its_loop_as_it_found_it(looped: tuple[Loop, Wait], relay: Relay) -> None:
    loop, wait = looped
    ticks: list[float] = []
    relay.observe(Housekeeping(ticks))
    relay.attach(loop)
    wait(lambda: bool(ticks))
    relay.close()
    after: list[int] = []
    ticks.clear()
    loop.call_later(0.6, lambda: after.append(1))  # a tick is due before
    wait(lambda: bool(after))
    assert ticks == []
