"""Invariants on both paths: each packet arrives once and is counted once in every counter."""

import errno
import random
from collections.abc import Callable

import pytest

from nh.commands import TransactionKey
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf
from nh.results import LegDetail
from tests.calls.rtp import CN, PCMA, PCMU, rtp_packet
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.testbed import Conversation, RelayTestbed
from tools.harness.media_peer import RTCP, RTP, MediaPeer

STEPS = 120


class RandomCalls:
    """Two pairs of phones that call each other, talk, are invited again and hang up at random."""

    def __init__(
        self, testbed: RelayTestbed, make_peer: MakePeer, dice: random.Random, patch: pytest.MonkeyPatch
    ) -> None:
        self._testbed = testbed
        self._dice = dice
        self._patch = patch
        self._phones = [(make_peer(), make_peer()) for _ in range(2)]
        self._calls: dict[int, Conversation] = {}
        self._sequence = 0
        self.sent = 0
        self.sent_rtp = 0
        self.ended: list[LegDetail] = []
        """The legs of calls that are over, as they were at last."""

    def step(self) -> None:
        """Something happens."""
        steps: list[tuple[int, Callable[[], None]]] = [
            (8, self._talk),
            (4, self._burst),
            (2, self._re_invite),
            (1, self._hang_up),
            (1, self._change_routes),
            (1, self._let_the_kernel_refuse),
            (1, self._patch.undo),
            (1, self._testbed.relay.update_stats),
        ]
        weights, actions = zip(*steps, strict=True)
        self._dice.choices(actions, weights)[0]()

    def hang_up_all(self) -> None:
        """All calls are over."""
        for number in list(self._calls):
            self._end(number)

    def _pick(self) -> tuple[int, Conversation]:
        number = self._dice.randrange(len(self._phones))
        if number not in self._calls:
            self._calls[number] = self._testbed.call(*self._phones[number])
        return number, self._calls[number]

    def _direction(self) -> tuple[MediaPeer, tuple[str, int], MediaPeer]:
        number, call = self._pick()
        alice, bob = self._phones[number]
        return self._dice.choice([(alice, call.for_caller, bob), (bob, call.for_callee, alice)])

    def _packet(self, component: int) -> bytes:
        self._sequence += 1
        self.sent += 1
        self.sent_rtp += component == RTP
        payload_type = self._dice.choice([PCMU, PCMA, CN]) if component == RTP else 72
        return rtp_packet(self._sequence, marker=component == RTCP, payload_type=payload_type)

    def _talk(self) -> None:
        speaker, to, listener = self._direction()
        component = self._dice.choice([RTP, RTCP])
        self._testbed.passes(speaker, to, listener, component, self._packet(component))

    def _burst(self) -> None:
        speaker, to, listener = self._direction()
        packets = [self._packet(RTP) for _ in range(self._dice.randrange(2, 20))]
        for packet in packets:
            speaker.send(packet, to)
        assert [self._testbed.receive(listener)[0] for _ in packets] == packets

    def _re_invite(self) -> None:
        number, call = self._pick()
        old = call.key
        again = TransactionKey(old.call_id, (old.cseq or 0) + 1, old.id_from, old.id_to)
        self._calls[number] = self._testbed.call(*self._phones[number], key=again)

    def _hang_up(self) -> None:
        if self._calls:
            self._end(self._dice.choice(list(self._calls)))

    def _end(self, number: int) -> None:
        call = self._calls.pop(number)
        for session in self._testbed.show(call.key).sessions:
            self.ended += [leg for pair in session.pairs for leg in (pair.from_, pair.to)]
        self._testbed.bye(call.key)

    def _change_routes(self) -> None:
        kernel = self._testbed.relay.plane.kernel
        if kernel is not None:
            kernel.routes_changed()
        self._testbed.loop.turn(0)

    def _let_the_kernel_refuse(self) -> None:
        what = self._dice.choice(["update", "delete"])
        really = getattr(bpf, what)

        def refuses(*arguments: object) -> object:
            if self._dice.random() < 0.5:
                raise KernelPathUnavailable("the kernel is busy", errno=errno.EBUSY)
            return really(*arguments)

        self._patch.setattr(bpf, what, refuses)


@pytest.mark.parametrize("seed", range(6))
def test_each_packet_arrives_once_and_is_counted_once(
    make_testbed: MakeTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    testbed = make_testbed(replaced_s=60)
    calls = RandomCalls(testbed, make_peer, random.Random(seed), monkeypatch)
    for _ in range(STEPS):
        calls.step()
    calls.hang_up_all()
    monkeypatch.undo()
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out) == (calls.sent, calls.sent)
    assert sum(leg.packets for leg in calls.ended) == calls.sent
    assert sum(leg.bytes for leg in calls.ended) == stats.bytes_in
    assert sum(leg.kernel_packets for leg in calls.ended) == stats.kernel_packets
    assert sum(stream.packets for leg in calls.ended for stream in leg.streams) == calls.sent_rtp
    assert sum(stream.duplicates for leg in calls.ended for stream in leg.streams) == 0
    testbed.turn_until(lambda: testbed.stats().kernel_flows == 0, "nothing is left in the kernel")
