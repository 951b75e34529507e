"""One process of the generator: sends and receives the media of its calls, and does nothing else.

`python -m tools.rtpload.worker --link-fd N` is started by the coordinator and takes its orders
from that
socket. One loop, one epoll, all sockets nonblocking. A turn sends what is due, then reads what is there;
if there is nothing to do it sleeps until the next packet is due, deaf to what arrives meanwhile: the
kernel notes when that was (phone.py). Knows nothing of control protocols.
"""

import argparse
import contextlib
import gc
import heapq
import os
import random
import select
import signal
import socket
import time
from typing import Final

from nh.wire.framing import Framer
from tools.rtpload.messages import (
    MAX_MESSAGE_BYTES,
    CallStreams,
    Configure,
    Finish,
    Finished,
    Hang,
    Hush,
    Hushed,
    Move,
    Moving,
    News,
    Open,
    Opened,
    OpenFailed,
    Order,
    Talk,
    Tick,
    decode_order,
    encode,
)
from tools.rtpload.packet import IDENTITY
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.worker.media_call import Gauges, MediaCall, Receiver, new_tally
from tools.rtpload.worker.pacing import Schedule
from tools.rtpload.worker.phone import ANCILLARY_BYTES, NoPorts, arrival_ns, wall_clock_offset_ns
from tools.rtpload.worker.senders import Sender

NS_PER_S: Final = 1_000_000_000
LONGEST_SLEEP_NS: Final = 2_000_000
IDLE_S: Final = 0.02
SENDS_PER_TURN: Final = 32
READS_PER_TURN: Final = 64


class Worker:
    """See the module.

    Arguments:
        link: to the coordinator, connected.
        common: the first order.
    """

    def __init__(self, link: socket.socket, common: Configure) -> None:
        self._link = link
        self._common = common
        self._framer = Framer(MAX_MESSAGE_BYTES)
        self._rng = random.Random(common.seed)
        self._gauges = Gauges(Histogram(), Histogram(), Histogram(), Histogram())
        self._caller, self._callee = new_tally(), new_tally()
        self._calls: dict[int, MediaCall] = {}
        self._moving: set[int] = set()
        self._hushing: dict[int, int] = {}
        self._ears: dict[int, Receiver] = {}
        self._schedule: Schedule[Sender] = Schedule()
        self._failures = 0
        self._kernel_clock = True
        self._finished = False
        self._buffer = bytearray(2048)
        self._view = memoryview(self._buffer)
        self._clock_offset_ns = wall_clock_offset_ns()
        self._next_tick_ns = 0
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Turn until Finish, or until the coordinator is gone."""
        heap = self._schedule.heap
        poll, ears, receive = self._epoll.poll, self._ears, self._receive
        self._next_tick_ns = (time.monotonic_ns() // NS_PER_S + 1) * NS_PER_S
        link_fd = self._link.fileno()
        while not self._finished:
            now_ns = self._send_due()
            if now_ns >= self._next_tick_ns:
                self._tick()
            if self._hushing:
                self._settle_hushing(now_ns)
            ready = poll(0 if heap else IDLE_S, READS_PER_TURN)
            ordered = False
            for fd, _ in ready:
                if fd == link_fd:
                    ordered = True  # last: an order may close the sockets of this very list
                else:
                    receive(ears[fd])
            if ordered:
                self._read_orders()
            elif not ready and heap:
                wake_ns = min(heap[0][0], now_ns + LONGEST_SLEEP_NS)
                if (left_ns := wake_ns - time.monotonic_ns()) > 0:
                    time.sleep(left_ns / NS_PER_S)

    def close(self) -> None:
        """Close all sockets."""
        for call in self._calls.values():
            call.close()
        self._calls.clear()
        self._epoll.close()
        self._link.close()

    def _send_due(self) -> int:
        """Send what is due, a bounded number of packets; returns the time."""
        heap = self._schedule.heap
        clock, replace = time.monotonic_ns, heapq.heapreplace
        now_ns = clock()
        for _ in range(SENDS_PER_TURN):
            if not heap or heap[0][0] > now_ns:
                break
            due_ns, order, mouth = heap[0]
            if mouth.speaking:
                replace(heap, (mouth.send(now_ns, due_ns), order, mouth))
                now_ns = clock()
            else:
                heapq.heappop(heap)
                mouth.scheduled = False
        return now_ns

    def _receive(self, ear: Receiver) -> None:
        try:
            size, ancillary, _, _ = ear.receive([self._buffer], ANCILLARY_BYTES)
        except BlockingIOError:
            return
        if size == ear.packet_bytes:
            run, stream, number, sent_ns = IDENTITY.unpack_from(self._buffer, ear.identity_offset)
            if stream == ear.stream.number and run == self._common.run:
                wall_ns = arrival_ns(ancillary)
                if wall_ns is None:
                    self._kernel_clock = False
                    arrived_ns = time.monotonic_ns()
                else:
                    arrived_ns = wall_ns - self._clock_offset_ns
                ear.stream.take(number, arrived_ns - sent_ns)
                if ear.recorder is not None:
                    ear.recorder.note(number, sent_ns, arrived_ns)
                return
        ear.judge(self._view[:size], self._common.run)

    def _settle_hushing(self, now_ns: int) -> None:
        for number, deadline_ns in list(self._hushing.items()):
            complete = self._calls[number].complete
            if complete or now_ns >= deadline_ns:
                del self._hushing[number]
                self._tell(Hushed(number, complete))

    def _tick(self) -> None:
        """A second is over: tell what it brought."""
        gauges = self._gauges
        self._tell(
            Tick(
                second=self._next_tick_ns // NS_PER_S - 1,
                caller=gauges.caller.filled(),
                callee=gauges.callee.filled(),
                lateness=gauges.lateness.filled(),
            )
        )
        for gauge in (gauges.caller, gauges.callee, gauges.lateness):
            gauge.clear()
        self._clock_offset_ns = wall_clock_offset_ns()
        self._next_tick_ns = (time.monotonic_ns() // NS_PER_S + 1) * NS_PER_S

    def _read_orders(self) -> None:
        data = self._link.recv(65_536, socket.MSG_DONTWAIT)
        if not data:
            self._finished = True
            return
        self._framer.feed(data)
        while (payload := self._framer.next_frame()) is not None:
            self._obey(decode_order(payload))

    def _obey(self, order: Order) -> None:
        match order:
            case Open():
                self._open(order)
            case Talk():
                self._talk(order)
            case Move(call):
                self._moving.add(call)
                self._calls[call].begin_move()
                self._tell(Moving(call))
            case Hush(call):
                self._calls[call].stop_sending()
                self._hushing[call] = time.monotonic_ns() + self._common.drain_ns
            case Hang(call):
                self._hang(call)
            case Finish():
                self._finish()
            case Configure():
                raise ValueError("a worker is configured once")

    def _open(self, order: Open) -> None:
        try:
            call = MediaCall(
                order.call,
                one_way=order.one_way,
                common=self._common,
                rng=self._rng,
                gauges=self._gauges,
                caller=self._caller,
                callee=self._callee,
            )
        except NoPorts as exc:
            self._tell(OpenFailed(order.call, str(exc)))
            return
        self._calls[order.call] = call
        for ear in call.ears:
            self._ears[ear.sock.fileno()] = ear
            self._epoll.register(ear.sock.fileno(), select.EPOLLIN)
        self._tell(Opened(order.call, call.caller, call.callee))

    def _talk(self, order: Talk) -> None:
        call = self._calls[order.call]
        if order.call in self._moving:
            self._moving.remove(order.call)
            call.end_move()
        now_ns = time.monotonic_ns()
        for mouth in call.talk(order.caller, order.callee):
            mouth.scheduled = True
            self._schedule.add(mouth.first_due(now_ns), mouth)

    def _hang(self, number: int) -> None:
        call = self._calls.pop(number)
        self._hushing.pop(number, None)
        self._moving.discard(number)
        call.stop_sending()
        for ear in call.ears:
            del self._ears[ear.sock.fileno()]
        self._failures += call.close()
        if call.records:
            self._tell(CallStreams(tuple(call.records)))

    def _finish(self) -> None:
        for number in list(self._calls):
            self._hang(number)
        self._tick()
        self._tell(
            Finished(
                caller=self._caller,
                callee=self._callee,
                report_latency=self._gauges.reports.filled(),
                send_failures=self._failures,
                cpu_s=time.process_time(),
                kernel_clock=self._kernel_clock,
            )
        )
        self._finished = True

    def _tell(self, news: News) -> None:
        self._link.sendall(encode(news))


def read_configuration(link: socket.socket) -> Configure | None:
    """The first order, or None if the coordinator is gone."""
    framer = Framer(MAX_MESSAGE_BYTES)
    while (payload := framer.next_frame()) is None:
        data = link.recv(1)  # one at a time: what follows is the worker's to read
        if not data:
            return None
        framer.feed(data)
    order = decode_order(payload)
    if not isinstance(order, Configure):
        raise TypeError(f"{type(order).__name__} before Configure")
    return order


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to hear
    parser = argparse.ArgumentParser(prog="python -m tools.rtpload.worker")
    parser.add_argument("--link-fd", type=int, required=True)
    link = socket.socket(fileno=parser.parse_args().link_fd)
    common = read_configuration(link)
    if common is None:
        return
    if common.cpus:
        os.sched_setaffinity(0, common.cpus)
    with contextlib.suppress(PermissionError):  # the report says how late it was in any case
        os.nice(common.nice)
    gc.disable()  # a collection would hold up thousands of packets, and nothing here is cyclic
    worker = Worker(link, common)
    try:
        worker.run()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is gone, and the calls with it
    finally:
        worker.close()


if __name__ == "__main__":
    main()
