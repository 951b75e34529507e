"""A program that speaks the link as a shard does, and misbehaves as it is told.

On the command line: `--die-at-start` (status 9, before Ready), `--start-when FILE` (Ready when FILE exists),
`--silent-at-start` (no Ready), `--ignore-shutdown`, `--version V` (what Ready says), `--heartbeat` (shows
life as a shard does, unless it hangs), `--keeping`: each Allocate of a call-id opens a UDP socket, which is
the answer, and has it held and the call kept; CloseCall of it is answered with how many packets wait there,
and has it let go. Such calls are restored, all but `unreadable`; of `poison` it dies (status 7).

By the call-id of a command: `die` (exit status 3), `kill` (SIGKILL), `hang` (reads no more), `ignore`
(answers everything but this), `late` (answers with the next command), `together` (the same, in one record),
`newer` (sends a message of a later version first), `saves` (saves two calls in one record first), `garbage`
(sends what is no message), `unlink` (closes the link and lives on), `half` (dies in the middle of a snapshot
of two parts). All other call-ids get an answer that tells the shard, such as Closed(its number); to an offer
it is the interfaces that it was given, in JSON. Told to drain, it says at once that it has no calls.
"""

import argparse
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint, RelayMedia
from nh.commands import Allocate, CloseCall, DeleteAll, ListCalls, Offer, RelayCommand
from nh.ipc.backup_messages import DropCall, ReleaseSockets, SaveCall, StoreSockets
from nh.ipc.link_codec import decode_to_shard, encode, encode_together
from nh.ipc.link_messages import (
    Configure,
    Configured,
    Detach,
    Execute,
    Executed,
    HoldLinks,
    NoCallsLeft,
    Ready,
    Reconfigure,
    RefuseNewCalls,
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    Serve,
    TakeNewCalls,
    TakeSockets,
)
from nh.results import Allocated, CallList, CallSummary, Closed, Failure, RelayResult, Rewritten
from nh.shard.zygote import wait_for_settings
from nh.stats import Segment, ShardStats, ShardWriter, attach_segment


def sleep_for_ever() -> None:
    while True:
        time.sleep(60)


class FakeShard:
    def __init__(self, link: socket.socket, options: argparse.Namespace) -> None:
        self.link = link
        self.options = options
        self.shard = -1
        self.low_port = 0
        self.interfaces: tuple[Interface, ...] = ()
        self.call_ids: set[bytes] = set()
        self.late: list[Executed] = []
        self.together = False
        self.sockets: dict[bytes, socket.socket] = {}
        self.taken: dict[Endpoint, int] = {}
        self.to_restore: list[RestoreCall] = []
        self.segment: Segment | None = None  # must not be collected: it would be closed
        self.writer: ShardWriter | None = None

    def run(self) -> None:
        while True:
            self.show_life()
            record, fds, _, _ = socket.recv_fds(self.link, 200_000, 250)
            if not record:
                return
            message = decode_to_shard(record)
            if isinstance(message, Configure):
                self.shard, self.low_port = message.relay.shard, message.relay.ports[0]
                self.interfaces = message.relay.interfaces
                self.link.send(encode(Configured()))
                if self.options.heartbeat:
                    self.segment = attach_segment(message.stats_segment)
                    self.writer = ShardWriter(self.segment, self.shard)
            elif isinstance(message, TakeSockets):
                self.taken.update(zip(message.endpoints, fds, strict=True))
            elif isinstance(message, RestoreCall):
                self.to_restore.append(message)
            elif isinstance(message, Restore):
                self.link.send(encode(Restored(*self.restore(report_each=message.report_each))))
            elif isinstance(message, Serve):
                self.start()
            elif isinstance(message, Execute):
                self.execute(message)
            elif isinstance(message, RefuseNewCalls):
                self.link.send(encode(NoCallsLeft(message.round)))
            elif isinstance(message, TakeNewCalls | HoldLinks | Detach | Reconfigure):
                pass
            elif not self.options.ignore_shutdown:
                return

    def show_life(self) -> None:
        """Wait for the next record, with a heartbeat now and then."""
        while self.writer is not None:
            self.writer.publish(ShardStats(heartbeat=time.monotonic()))
            if select.select([self.link], [], [], 0.05)[0]:
                return

    def restore(self, *, report_each: bool) -> tuple[int, int]:
        for number, call in enumerate(self.to_restore):
            if report_each:
                self.link.send(encode(Restoring(number)))
            if call.call_id == b"poison":
                os._exit(7)
            if call.call_id == b"unreadable":
                self.link.send(encode(DropCall(call.call_id)))
                continue
            here = Endpoint("127.0.0.1", int(call.snapshot))
            self.sockets[call.call_id] = socket.socket(fileno=self.taken.pop(here))
            self.call_ids.add(call.call_id)
        if self.taken:
            self.link.send(encode(ReleaseSockets(tuple(self.taken))))
        return len(self.sockets), len(self.to_restore) - len(self.sockets)

    def open(self, call_id: bytes) -> int:
        sock = self.sockets[call_id] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        socket.send_fds(self.link, [encode(StoreSockets((Endpoint("127.0.0.1", port),)))], [sock.fileno()])
        self.link.send(encode(SaveCall(call_id, b"%d" % port)))
        return port

    def close(self, call_id: bytes) -> int:
        sock, packets = self.sockets.pop(call_id), 0
        while select.select([sock], [], [], 0)[0]:
            sock.recv(2000)
            packets += 1
        self.link.send(encode(ReleaseSockets((Endpoint(*sock.getsockname()),))))
        self.link.send(encode(DropCall(call_id)))
        sock.close()
        return packets

    def start(self) -> None:
        if self.options.die_at_start:
            sys.exit(9)
        supervisor_gone = select.poll()
        supervisor_gone.register(self.link, 0)  # tells POLLHUP alone
        while self.options.start_when is not None and not self.options.start_when.exists():
            if supervisor_gone.poll(10):
                sys.exit(0)
        if not self.options.silent_at_start:
            self.link.send(encode(Ready(os.getpid(), self.options.version)))

    def execute(self, message: Execute) -> None:
        command = message.command
        call_id = b"" if isinstance(command, ListCalls) else call_id_of(command)
        answer = Executed(message.id, self.result(command, call_id))
        match call_id:
            case b"die":
                os._exit(3)
            case b"kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case b"hang":
                sleep_for_ever()
            case b"ignore":
                return
            case b"late" | b"together":
                self.late.append(answer)
                self.together = call_id == b"together"
                return
            case b"newer":
                self.link.send(msgspec.msgpack.encode({"type": "mood", "how": "fine"}))
            case b"saves":
                self.link.send(encode_together([SaveCall(b"a", b"1"), SaveCall(b"b", b"2")]))
            case b"garbage":
                self.link.send(b"\xc1")
                return
            case b"half":
                self.link.send(encode(SaveCall(b"call", b"new", 0, last=False)))
                os._exit(3)
            case b"unlink":
                self.link.close()
                sleep_for_ever()
        records = [encode(each) for each in (*self.late, answer)]
        if self.together:
            records = [encode_together([*self.late, answer])]
        self.late, self.together = [], False
        for record in records:
            self.link.send(record)

    def result(self, command: RelayCommand, call_id: bytes) -> RelayResult:
        match command:
            case CloseCall():
                return Closed(self.close(call_id) if call_id in self.sockets else self.shard)
            case Offer():
                return Rewritten(msgspec.json.encode(self.interfaces))
            case Allocate():
                self.call_ids.add(call_id)
                if self.options.keeping:
                    return Allocated((RelayMedia("127.0.0.1", self.open(call_id), 1),))
                return Allocated((RelayMedia("127.0.0.1", self.low_port, 2),))
            case ListCalls(contains, after, limit):
                found = sorted(each for each in self.call_ids if each > after and contains in each)
                page = [CallSummary(each, self.shard, 0, 0, 0, 0, 0, 0) for each in found[:limit]]
                return CallList(tuple(page), page[-1].call_id if len(found) > limit else b"")
            case _:
                return Failure("not_found", f"shard {self.shard} has no calls")


def call_id_of(command: RelayCommand) -> bytes:
    assert not isinstance(command, ListCalls | DeleteAll)
    return command.call_id


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--link-fd", type=int, required=True)
    parser.add_argument("--die-at-start", action="store_true")
    parser.add_argument("--start-when", type=Path)
    parser.add_argument("--silent-at-start", action="store_true")
    parser.add_argument("--ignore-shutdown", action="store_true")
    parser.add_argument("--heartbeat", action="store_true")
    parser.add_argument("--keeping", action="store_true")
    parser.add_argument("--secure", action="store_true")  # it has nothing to load
    parser.add_argument("--version", default="0.1.0")
    options = parser.parse_args()
    with wait_for_settings(socket.socket(fileno=options.link_fd)) as link:
        FakeShard(link, options).run()


if __name__ == "__main__":
    main()
