"""What latching costs a shard: µs of CPU for each leg, the least of five rounds.

    python -m benchmarks.latching_cost

A leg latches with its first packet, in user space (a connected socket, and one beside it) and in the kernel
(a flow). Then its phone goes on from another port, as one that its NAT moves. What another packet costs is
taken off.
Needs CAP_BPF and CAP_NET_ADMIN for the kernel; media go over loopback.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from nh.calls.media import Media, Side
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import Activate, Allocate, TransactionKey
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf
from nh.fastpath.flows import FlowTable
from nh.fastpath.loader import load
from nh.fastpath.netlink.routes import Routes
from nh.loop import SelectorLoop
from nh.results import Allocated
from nh.shard.media.kernel.path import KernelPath
from nh.shard.relay import Relay
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

CALLS: Final = 100
ROUNDS: Final = 5
LOOPBACK: Final = "127.0.0.1"

MakePath = Callable[[], KernelPath | None]


class Cell:
    """A relay in this process with CALLS calls between the same two phones.

    Args:
        ports: its media ports.
        kernel: its path in the kernel; None: it has none.

    Attributes:
        alice: the phone whose sources latch.
        moved: another address of that phone.
    """

    def __init__(self, ports: range, kernel: KernelPath | None) -> None:
        self._loop = SelectorLoop()
        self._relay = Relay(RelayConfig(RelaySettings(), ports=(ports[0], ports[-1])), kernel=kernel)
        self._relay.attach(self._loop)
        self.alice, self.moved = MediaPeer(LOOPBACK), MediaPeer(LOOPBACK)
        self._targets = [self._call(number) for number in range(CALLS)]

    def _call(self, number: int) -> tuple[str, int]:
        """Where Alice sends to in one call."""
        key = TransactionKey(b"call-%d" % number, 1, b"alice", b"bob")
        media = Media(LOOPBACK, self.alice.port, 2, "RTP/AVP", "audio")
        self._relay.execute(Allocate(key, Side.FROM, LOOPBACK, (media,)))
        allocated = self._relay.execute(Allocate(key, Side.TO, LOOPBACK, (media,)))
        self._relay.execute(Activate(key))
        assert isinstance(allocated, Allocated)
        return LOOPBACK, allocated.media[0].port

    def cost_us(self, sender: MediaPeer) -> float:
        """CPU for one packet of Alice's stream in each call, for each of them."""
        packets = [self.alice.next_packet(bytes(160)) for _ in self._targets]
        for packet, target in zip(packets, self._targets, strict=True):
            sender.send_raw(packet, target)
        began = time.process_time()
        for _ in range(40):
            self._loop.turn(0.001)
        return (time.process_time() - began) / CALLS * 1e6

    def close(self) -> None:
        self._relay.close()
        self._loop.close()
        self.alice.close()
        self.moved.close()


def measure(make_path: MakePath) -> str:
    """The least of all rounds, in words."""
    rounds = []
    for _ in range(ROUNDS):
        with claim_ports(4 * CALLS) as ports:
            cell = Cell(ports, make_path())
            rounds.append([cell.cost_us(each) for each in (cell.alice, cell.alice, cell.moved)])
            cell.close()
    latching, later, moving = (min(each) for each in zip(*rounds, strict=True))
    return f"latching {latching - later:.0f} µs a leg, a phone that moves {moving - later:.0f} µs"


@contextlib.contextmanager
def paths() -> Iterator[MakePath]:
    """Paths in the kernel, one for each relay, on loopback."""
    slots = 4 * CALLS + 1
    program = load(slots * ROUNDS)
    link = bpf.attach_tcx(program.program_fd, socket.if_nametoindex("lo"))
    numbers = itertools.count()

    def make() -> KernelPath:
        shard = next(numbers)
        flows = FlowTable(
            program.flows_fd, program.counters_fd, shard=shard, first_index=shard * slots, indexes=slots
        )
        return KernelPath(flows, Routes())

    try:
        yield make
    finally:
        os.close(link)
        program.close()


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.latching_cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    ).parse_args()
    print(f"in user space: {measure(lambda: None)}")
    try:
        with paths() as make:
            print(f"in the kernel: {measure(make)}")
    except KernelPathUnavailable as refusal:
        print(f"in the kernel: not measured, {refusal}")


if __name__ == "__main__":
    main()
