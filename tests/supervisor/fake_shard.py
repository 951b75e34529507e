"""A program that speaks the link as a shard does, and misbehaves as it is told.

On the command line: `--die-at-start` (status 9, before Ready), `--start-when FILE` (Ready when FILE exists),
`--silent-at-start` (no Ready), `--ignore-shutdown`, `--version V` (what Ready says).

By the call-id of a command: `die` (exit status 3), `kill` (SIGKILL), `hang` (reads no more), `ignore`
(answers everything but this), `late` (answers with the next command), `garbage` (sends what is no message),
`unlink` (closes the link and lives on). All other call-ids get an answer that tells the shard, such as
Closed(its number); to an offer it is the interfaces that it was given, in JSON. Told to drain, it says at
once that it has no calls.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.media import RelayMedia
from nh.commands import (
    Activate,
    Allocate,
    Allocated,
    CallList,
    CallSummary,
    Close,
    CloseCall,
    Closed,
    Failure,
    ListCalls,
    Offer,
    RelayCommand,
    RelayResult,
    Rewritten,
)
from nh.wire.link import (
    Configure,
    Execute,
    Executed,
    NoCallsLeft,
    Ready,
    RefuseNewCalls,
    Start,
    TakeNewCalls,
    decode_to_shard,
    encode,
)


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

    def run(self) -> None:
        while record := self.link.recv(200_000):
            message = decode_to_shard(record)
            if isinstance(message, Configure):
                self.shard, self.low_port = message.shard, message.ports[0]
                self.interfaces = message.interfaces
            elif isinstance(message, Start):
                self.start()
            elif isinstance(message, Execute):
                self.execute(message)
            elif isinstance(message, RefuseNewCalls):
                self.link.send(encode(NoCallsLeft(message.round)))
            elif isinstance(message, TakeNewCalls):
                pass
            elif not self.options.ignore_shutdown:
                return

    def start(self) -> None:
        if self.options.die_at_start:
            sys.exit(9)
        while self.options.start_when is not None and not self.options.start_when.exists():
            time.sleep(0.01)
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
            case b"late":
                self.late.append(answer)
                return
            case b"garbage":
                self.link.send(b"\xc1")
                return
            case b"unlink":
                self.link.close()
                sleep_for_ever()
        for late in self.late:
            self.link.send(encode(late))
        self.late.clear()
        self.link.send(encode(answer))

    def result(self, command: RelayCommand, call_id: bytes) -> RelayResult:
        match command:
            case CloseCall():
                return Closed(self.shard)
            case Offer():
                return Rewritten(msgspec.json.encode(self.interfaces))
            case Allocate():
                self.call_ids.add(call_id)
                return Allocated((RelayMedia("127.0.0.1", self.low_port, 2),))
            case ListCalls(contains, after, limit):
                found = sorted(each for each in self.call_ids if each > after and contains in each)
                page = [CallSummary(each, self.shard, 0, 0, 0, 0, 0, 0) for each in found[:limit]]
                return CallList(tuple(page), page[-1].call_id if len(found) > limit else b"")
            case _:
                return Failure("not_found", f"shard {self.shard} has no calls")


def call_id_of(command: RelayCommand) -> bytes:
    assert not isinstance(command, ListCalls)
    return command.dialog.call_id if isinstance(command, Allocate | Activate | Close) else command.call_id


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--link-fd", type=int, required=True)
    parser.add_argument("--die-at-start", action="store_true")
    parser.add_argument("--start-when", type=Path)
    parser.add_argument("--silent-at-start", action="store_true")
    parser.add_argument("--ignore-shutdown", action="store_true")
    parser.add_argument("--version", default="0.1.0")
    options = parser.parse_args()
    with socket.socket(fileno=options.link_fd) as link:
        FakeShard(link, options).run()


if __name__ == "__main__":
    main()
