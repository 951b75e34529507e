"""How the HTTP process learns of the relay: statistics from shared memory, calls over RPC, within limits."""

import asyncio
import errno
import queue
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from nh.client import NativeClient
from nh.commands import BaseCommand
from nh.errors import ShardUnavailable
from nh.http.limits import MAX_RPC, MAX_RPC_WAITING, RPC_RATE, RPC_WAIT_S
from nh.http.refused import REFUSALS
from nh.http.turns import Turns
from nh.reasons import shortage
from nh.results import Result
from nh.stats import Segment, StatsReader, open_segment, segment_name
from nh.stats.reading import StatsReading

ResultT = TypeVar("ResultT", bound=Result)


class StatsSource:
    """Reads the statistics of the nh with a runtime directory.

    Args:
        runtime_path: the directory.
        fd: see HttpConfig.stats_fd.
    """

    def __init__(self, runtime_path: Path, fd: int) -> None:
        self._fd = fd
        self._name = segment_name(runtime_path)
        self._segment: Segment | None = None
        self._reader: StatsReader

    def read(self) -> StatsReading:
        """The latest statistics. Raises StatsUnavailable."""
        if self._segment is None:
            self._segment = open_segment(self._fd, self._name)
            self._reader = StatsReader(self._segment)
        return self._reader.read()


class RpcClient:
    """Asks nh, at most MAX_RPC requests at once and RPC_RATE in a second; further ones wait, or are refused.

    Args:
        address: where nh serves RPC.
        timeout_s: time limit for each request.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self._clients: queue.SimpleQueue[NativeClient] = queue.SimpleQueue()
        for _ in range(MAX_RPC):
            self._clients.put(NativeClient(address, timeout_s))
        self._threads = ThreadPoolExecutor(MAX_RPC, "rpc")
        self._turns = Turns(MAX_RPC, MAX_RPC_WAITING, _busy)
        self._free_at = 0.0

    async def request(self, command: BaseCommand[ResultT], client: str, *, cost: int = 1) -> ResultT:
        """Execute a command.

        Args:
            command: the command.
            client: who asks; see nh.fair_shares.client_at().
            cost: as how many requests it counts.

        Raises:
            NhError: as NativeClient.request(); ShardUnavailable also if too many requests wait here, or the
                host has no thread for one.
        """
        try:
            async with asyncio.timeout(RPC_WAIT_S):
                await self._turns.take(client)
        except TimeoutError:
            raise _busy() from None
        try:
            await self._pace(cost)
            return await self._begin(command)
        finally:
            self._turns.give_back()

    def _begin(self, command: BaseCommand[ResultT]) -> asyncio.Future[ResultT]:
        """Have a thread execute a command."""
        # submit() keeps what it has no thread for: a command that was refused would be executed later
        result: Future[ResultT] = Future()
        try:
            self._threads.submit(self._execute, command, result)
        except RuntimeError as exc:
            if result.cancel():  # no thread has it yet
                raise ShardUnavailable(shortage(OSError(errno.EAGAIN, "no thread can be started"))) from exc
        return asyncio.wrap_future(result)

    async def _pace(self, cost: int) -> None:
        """Let `cost` / RPC_RATE seconds pass from this turn to the next."""
        now = time.monotonic()
        due = max(now, self._free_at)
        self._free_at = due + cost / RPC_RATE
        if due > now:
            await asyncio.sleep(due - now)

    def _execute(self, command: BaseCommand[ResultT], result: Future[ResultT]) -> None:
        if not result.set_running_or_notify_cancel():
            return
        client = self._clients.get()
        try:
            result.set_result(client.request(command))
        except BaseException as exc:  # as an executor does it
            result.set_exception(exc)
        finally:
            self._clients.put(client)


def _busy() -> ShardUnavailable:
    REFUSALS.note("requests")
    return ShardUnavailable("too many requests of the API wait; try again later")
