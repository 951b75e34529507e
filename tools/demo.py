"""`make demo`: calls through a relay of their own, with audio both ways, and a report of what arrived.

Starts `nh run`, sets the calls up over its RPC socket, sends RTP from both ends of every call every 20 ms,
and stops it all. The exit status is 0 only if every packet arrived.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import dataclasses
import selectors
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, ShowCall, TransactionKey
from nh.errors import NhError
from tools.arguments import number, port_range, whole_number
from tools.harness import HarnessError
from tools.harness.relay import running_relay
from tools.harness.rtp_phone import Phone
from tools.rtp import PACKET_S

LOOPBACK: Final = "127.0.0.1"
SOCKETS_PER_CALL: Final = 4
LAST_PACKETS_S: Final = 10.0
"""How long to wait for what is still on its way at the end, on a busy host."""


@dataclasses.dataclass
class Call:
    """A call and its two ends.

    Args:
        key: what it is known under.
        caller, callee: its ends.
        shard: which shard has it.
    """

    key: TransactionKey
    caller: Phone
    callee: Phone
    shard: int = -1

    @property
    def phones(self) -> tuple[Phone, Phone]:
        """Both ends."""
        return self.caller, self.callee

    @property
    def lost(self) -> int:
        """How many packets did not arrive, both ways together."""
        return sum(phone.sent for phone in self.phones) - sum(phone.received for phone in self.phones)


def set_up(client: NativeClient, number: int) -> Call:
    """A call as a SIP proxy sets it up: ports for the offer, ports for the answer, then media.

    Raises:
        NhError: the relay refuses it.
    """
    key = TransactionKey(
        call_id=b"demo-%d@nh" % number,
        cseq=1,
        id_from=b"sip:caller-%d" % number,
        id_to=b"sip:callee-%d" % number,
    )
    call = Call(key, Phone(LOOPBACK), Phone(LOOPBACK))
    # the other end sends to the ports that stand in for this one
    call.callee.target = _allocate(client, key, Side.FROM, call.caller)
    call.caller.target = _allocate(client, key, Side.TO, call.callee)
    call.caller.expects, call.callee.expects = call.callee.ssrc, call.caller.ssrc
    client.request(Activate(key))
    call.shard = client.request(ShowCall(key.call_id)).shard
    return call


def _allocate(client: NativeClient, key: TransactionKey, side: Side, phone: Phone) -> tuple[str, int]:
    media = Media(phone.address, phone.port, 2, "RTP/AVP", "audio")
    [relay] = client.request(Allocate(key, side, LOOPBACK, (media,))).media
    return relay.address, relay.port


def talk(calls: Sequence[Call], seconds: float, progress: Progress) -> None:
    """Send a packet from every phone every 20 ms for `seconds`, and take what arrives."""
    phones = [phone for call in calls for phone in call.phones]
    packets = round(seconds / PACKET_S)
    task = progress.add_task("RTP both ways", total=packets)
    with selectors.DefaultSelector() as selector:
        for phone in phones:
            selector.register(phone.socket, selectors.EVENT_READ, phone)
        start = time.monotonic()
        for number in range(packets):
            for place, phone in enumerate(phones):
                # spread over the 20 ms, as phones that know nothing of each other are
                due = start + (number + place / len(phones)) * PACKET_S
                _receive_until(selector, due)
                phone.send()
            progress.advance(task)
        deadline = time.monotonic() + LAST_PACKETS_S
        while any(call.lost for call in calls) and time.monotonic() < deadline:
            _receive_until(selector, time.monotonic() + PACKET_S)


def _receive_until(selector: selectors.BaseSelector, due: float) -> None:
    while True:
        ready = selector.select(max(0.0, due - time.monotonic()))
        for key, _ in ready:
            phone: Phone = key.data
            phone.receive()
        if time.monotonic() >= due:
            return


def report(calls: Sequence[Call]) -> Table:
    """What arrived, a line a call."""
    table = Table(title="What arrived", caption="ms: one-way latency, this program's own loop included")
    for column in ("call", "shard", "sent", "received", "lost", "mean ms", "99 % ms", "worst ms"):
        table.add_column(column, justify="left" if column == "call" else "right")
    for call in calls:
        table.add_row(call.key.call_id.decode(), str(call.shard), *_figures([call]))
    table.add_section()
    table.add_row("all", "", *_figures(calls), style="bold")
    return table


def _figures(calls: Sequence[Call]) -> list[str]:
    phones = [phone for call in calls for phone in call.phones]
    latencies_ms = sorted(ns / 1e6 for phone in phones for ns in phone.latencies_ns.values())
    counts = [sum(phone.sent for phone in phones), len(latencies_ms), sum(call.lost for call in calls)]
    if not latencies_ms:
        return [*map(str, counts), "-", "-", "-"]
    percentile = latencies_ms[int(len(latencies_ms) * 0.99)]
    figures = [statistics.fmean(latencies_ms), percentile, latencies_ms[-1]]
    return [*map(str, counts), *(f"{figure:.2f}" for figure in figures)]


def run(number_of_calls: int, seconds: float, shards: int, ports: int | range, console: Console) -> int:
    """The demonstration; how many packets were lost.

    Raises:
        HarnessError, NhError: it comes to no end.
    """
    calls: list[Call] = []
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    try:
        with Progress(*columns, console=console) as progress:
            console.print(f"Starting a relay of its own for {number_of_calls} calls ...")
            with running_relay(shards=shards, ports=ports, kernel="auto", state="off") as relay:
                with NativeClient(relay.unix_address) as client:
                    task = progress.add_task("calls set up", total=number_of_calls)
                    for number in range(number_of_calls):
                        calls.append(set_up(client, number))
                        progress.advance(task)
                talk(calls, seconds, progress)
                with NativeClient(relay.unix_address) as client:
                    task = progress.add_task("calls closed", total=number_of_calls)
                    for call in calls:
                        client.request(Close(call.key))
                        progress.advance(task)
        console.print(report(calls))
        return sum(call.lost for call in calls)
    finally:
        for call in calls:
            for phone in call.phones:
                phone.close()


def main() -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument(
        "--calls", type=whole_number(1, 500), default=20, help="calls at once, 1 to 500 (default: 20)"
    )
    parser.add_argument(
        "--seconds", type=number(0.1, 600), default=5.0, help="how long they last, 0.1 to 600 (default: 5)"
    )
    parser.add_argument(
        "--shards", type=whole_number(0), default=0, help="shard processes (default: one for each CPU)"
    )
    parser.add_argument(
        "--ports", type=port_range, metavar="MIN-MAX", help="the relay's media ports (default: free ones)"
    )
    arguments = parser.parse_args()
    console = Console()
    try:
        # four times as many ports as it needs: each shard has a slice, and calls fall where they fall
        ports = arguments.ports or 4 * SOCKETS_PER_CALL * arguments.calls
        lost = run(arguments.calls, arguments.seconds, arguments.shards, ports, console)
    except (HarnessError, NhError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    if lost:
        console.print(f"[red]{lost} packets were lost.[/red]")
        return 1
    console.print("[green]Every packet arrived.[/green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
