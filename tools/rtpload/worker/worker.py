"""The media of a worker's calls: one loop, one epoll, all sockets nonblocking.

A turn sends what is due, then reads what has arrived. If nothing is due it sleeps until the next packet is,
without watching the sockets meanwhile: the kernel timestamps what arrives (phone.py). It knows no control
protocol.
"""

import heapq
import random
import select
import socket
import time
from collections import Counter
from typing import Final

from nh.wire.framing import Framer
from tools.rtpload.messages import (
    MAX_MESSAGE_BYTES,
    BrowserTally,
    CallStreams,
    Configure,
    Connect,
    Connected,
    Event,
    Finish,
    Finished,
    HangUp,
    Move,
    Moving,
    Open,
    Opened,
    OpenFailed,
    Order,
    Ready,
    SendingStopped,
    StartSending,
    StopSending,
    Tick,
    decode_order,
    encode,
)
from tools.rtpload.packet import IDENTITY
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.worker.media_call import Gauges, MediaCall, new_tally
from tools.rtpload.worker.pacing import Schedule
from tools.rtpload.worker.phone import ANCILLARY_BYTES, NoPorts, arrival_ns, wall_clock_offset_ns
from tools.rtpload.worker.receivers import Receiver
from tools.rtpload.worker.senders import Scheduled

NS_PER_S: Final = 1_000_000_000
MAX_SLEEP_NS: Final = 2_000_000
IDLE_S: Final = 0.02
SENDS_PER_TURN: Final = 32
READS_PER_TURN: Final = 64


class Worker:
    """See the module; `run` it once.

    Args:
        link: to the coordinator, connected.
        common: the first order.
    """

    def __init__(self, link: socket.socket, common: Configure) -> None:
        self._link = link
        self._common = common
        self._framer = Framer(MAX_MESSAGE_BYTES)
        self._rng = random.Random(common.seed)
        self._gauges = Gauges(Histogram(), Histogram(), Histogram(), Histogram(), Counter())
        self._caller, self._callee = new_tally(), new_tally()
        self._calls: dict[int, MediaCall] = {}
        self._moving: set[int] = set()
        self._stopping: dict[int, int] = {}
        self._receivers: dict[int, Receiver] = {}
        self._schedule: Schedule[Scheduled] = Schedule()
        self._browsers = BrowserTally() if common.webrtc else None
        self._kernel_clock = True
        self._finished = False
        self._ready_cpu_s = 0.0
        self._buffer = bytearray(2048)
        self._view = memoryview(self._buffer)
        self._clock_offset_ns = wall_clock_offset_ns()
        self._next_tick_ns = 0
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Turn until Finish, or until the coordinator is gone."""
        self._ready_cpu_s = time.process_time()
        self._send(Ready())
        heap = self._schedule.heap
        poll, receivers, receive = self._epoll.poll, self._receivers, self._receive
        self._next_tick_ns = (time.monotonic_ns() // NS_PER_S + 1) * NS_PER_S
        link_fd = self._link.fileno()
        while not self._finished:
            now_ns = self._send_due()
            if now_ns >= self._next_tick_ns:
                self._tick()
            if self._stopping:
                self._settle_stopping(now_ns)
            ready = poll(0 if heap else IDLE_S, READS_PER_TURN)
            ordered = False
            for fd, _ in ready:
                if fd == link_fd:
                    ordered = True  # last: an order may close the sockets of this very list
                else:
                    receive(receivers[fd])
            if ordered:
                self._read_orders()
            elif not ready and heap:
                wake_ns = min(heap[0][0], now_ns + MAX_SLEEP_NS)
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
            due_ns, order, sender = heap[0]
            if sender.active:
                replace(heap, (sender.send(now_ns, due_ns), order, sender))
                now_ns = clock()
            else:
                heapq.heappop(heap)
                sender.scheduled = False
        return now_ns

    def _receive(self, receiver: Receiver) -> None:
        try:
            size, ancillary, _, _ = receiver.receive([self._buffer], ANCILLARY_BYTES)
        except BlockingIOError:
            return
        if receiver.open_packet is not None:
            if (size := self._open_packet(receiver, size)) == 0:
                return
            receiver = receiver.of_packet(self._view)
        if (offset := receiver.identity_at.get(size)) is not None:
            run, stream, number, sent_ns = IDENTITY.unpack_from(self._buffer, offset)
            if stream == receiver.stream.number and run == self._common.run:
                wall_ns = arrival_ns(ancillary)
                if wall_ns is None:
                    self._kernel_clock = False
                    arrived_ns = time.monotonic_ns()
                else:
                    arrived_ns = wall_ns - self._clock_offset_ns
                receiver.stream.take(number, arrived_ns - sent_ns)
                if receiver.recorder is not None:
                    receiver.recorder.note(number, sent_ns, arrived_ns)
                if receiver.reception is not None:
                    receiver.reception.note_report(self._view, arrived_ns)
                return
        receiver.classify(self._view[:size], self._common.run)

    def _open_packet(self, receiver: Receiver, size: int) -> int:
        """Make RTP or RTCP of the packet in the buffer; returns its size, 0 for another or a wrong one."""
        assert receiver.open_packet is not None
        try:
            opened = receiver.open_packet(bytes(self._view[:size]))
        except ValueError:
            receiver.stream.damaged += 1
            return 0
        self._buffer[: len(opened)] = opened
        return len(opened)

    def _settle_stopping(self, now_ns: int) -> None:
        for number, deadline_ns in list(self._stopping.items()):
            complete = self._calls[number].complete
            if complete or now_ns >= deadline_ns:
                del self._stopping[number]
                self._send(SendingStopped(number, complete))

    def _tick(self) -> None:
        """Send the figures of the second that is over."""
        gauges = self._gauges
        self._send(
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
            case Connect():
                self._connect(order)
            case StartSending():
                self._start_sending(order)
            case Move(call):
                self._moving.add(call)
                self._calls[call].begin_move()
                self._send(Moving(call))
            case StopSending(call):
                self._calls[call].stop_sending()
                self._stopping[call] = time.monotonic_ns() + self._common.drain_ns
            case HangUp(call):
                self._hang_up(call)
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
            self._send(OpenFailed(order.call, str(exc)))
            return
        self._calls[order.call] = call
        for fd, receiver in call.sockets().items():
            self._receivers[fd] = receiver
            self._epoll.register(fd, select.EPOLLIN)
        self._send(Opened(order.call, call.caller, call.callee))

    def _connect(self, order: Connect) -> None:
        browser = self._calls[order.call].browser
        assert browser is not None, "the coordinator knows what the callees are"
        begun_ns = time.monotonic_ns()

        def tell(problem: str) -> None:
            self._send(Connected(order.call, time.monotonic_ns() - begun_ns, problem))

        browser.connect(order.callee, begun_ns, tell)
        browser.scheduled = True
        self._schedule.add(browser.first_due(begun_ns), browser)

    def _start_sending(self, order: StartSending) -> None:
        call = self._calls[order.call]
        if order.call in self._moving:
            self._moving.remove(order.call)
            call.end_move()
        now_ns = time.monotonic_ns()
        for sender in call.start_sending(order.caller, order.callee):
            sender.scheduled = True
            self._schedule.add(sender.first_due(now_ns), sender)

    def _hang_up(self, number: int) -> None:
        call = self._calls.pop(number)
        self._stopping.pop(number, None)
        self._moving.discard(number)
        call.stop_sending()
        for fd in call.sockets():
            del self._receivers[fd]
        if call.browser is not None and self._browsers is not None:
            call.browser.close(time.monotonic_ns())
            self._browsers.add(call.browser.tally)
        call.close()
        if call.records:
            self._send(CallStreams(tuple(call.records)))

    def _finish(self) -> None:
        for number in list(self._calls):
            self._hang_up(number)
        self._tick()
        self._send(
            Finished(
                caller=self._caller,
                callee=self._callee,
                report_latency=self._gauges.reports.filled(),
                send_failures=dict(self._gauges.failures),
                cpu_s=time.process_time() - self._ready_cpu_s,
                kernel_clock=self._kernel_clock,
                browsers=self._browsers,
            )
        )
        self._finished = True

    def _send(self, event: Event) -> None:
        self._link.sendall(encode(event))
