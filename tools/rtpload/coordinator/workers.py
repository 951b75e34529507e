"""The worker processes, from the coordinator's side: start, orders to them, events from them, end."""

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from tools.rtpload.ends import MediaEnd, Targets
from tools.rtpload.errors import LoadFailed, PhonesUnavailable
from tools.rtpload.messages import (
    MAX_MESSAGE_BYTES,
    CallStreams,
    Configure,
    Connect,
    Connected,
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
    decode_event,
    encode,
)

END_S: Final = 5.0
_LENGTH: Final = struct.Struct("!I")
_SOURCES: Final = str(Path(__file__).parents[2])


class WorkerHandle:
    """One worker.

    Args:
        process: its process.
        reader, writer: the link to it.
        on_tick: called with each Tick.
        on_streams: called with what was recorded of a call, once it is over.

    Methods that wait raise LoadFailed if the worker is gone.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_tick: Callable[[Tick], None],
        on_streams: Callable[[CallStreams], None],
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer
        self._on_tick = on_tick
        self._on_streams = on_streams
        self._opening: dict[int, asyncio.Future[Opened | OpenFailed]] = {}
        self._connecting: dict[int, asyncio.Future[Connected]] = {}
        self._moving: dict[int, asyncio.Future[None]] = {}
        self._stopping: dict[int, asyncio.Future[bool]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finished: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self._gone = False
        self._why = "has ended unexpectedly; its output is above"

    async def listen(self) -> None:
        """Take the events of the worker until it ends."""
        try:
            while True:
                [size] = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if size > MAX_MESSAGE_BYTES:
                    self._why = f"has sent a message of {size} bytes; {MAX_MESSAGE_BYTES} are the most"
                    return
                self._take(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._fail_waiting()

    async def ready(self) -> None:
        """Return when the worker takes orders."""
        await self._ready

    async def open(self, call: int, *, one_way: bool) -> Targets:
        """Phones for a call; where they take media. Raises PhonesUnavailable if there are none to be had."""
        future = self._opening[call] = asyncio.get_running_loop().create_future()
        self._send(Open(call, one_way))
        event = await future
        if isinstance(event, OpenFailed):
            raise PhonesUnavailable(event.reason)
        return Targets(event.caller, event.callee)

    async def connect(self, call: int, callee: MediaEnd) -> Connected:
        """Let a call's browser begin with ICE and DTLS; returns once that has ended.

        Args:
            call: which.
            callee: what the SDP for the browser says.
        """
        future: asyncio.Future[Connected] = asyncio.get_running_loop().create_future()
        self._connecting[call] = future
        self._send(Connect(call, callee))
        return await future

    def start_sending(self, call: int, targets: Targets) -> None:
        """Let the phones send to these ports."""
        self._send(StartSending(call, targets.caller, targets.callee))

    async def move(self, call: int) -> None:
        """A re-INVITE is about to begin: returns once the worker knows."""
        future = self._moving[call] = asyncio.get_running_loop().create_future()
        self._send(Move(call))
        await future

    async def stop_sending(self, call: int) -> bool:
        """Stop a call's phones. Returns, when no packet is under way, whether all packets arrived."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._stopping[call] = future
        self._send(StopSending(call))
        return await future

    def hang_up(self, call: int) -> None:
        """The call is over."""
        self._send(HangUp(call))

    async def guard(self) -> None:
        """Raises LoadFailed if the worker dies; returns when it has finished."""
        await asyncio.shield(self._finished)

    async def finish(self) -> Finished:
        """The worker's account; it ends."""
        self._send(Finish())
        return await self._finished

    def end(self) -> None:
        """Let go of the process, which ends as soon as it sees that; killed if it does not."""
        self._writer.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, order: Order) -> None:
        if self._gone:
            raise self._is_gone()
        self._writer.write(encode(order))

    def _take(self, payload: bytes) -> None:
        event = decode_event(payload)
        match event:
            case Ready():
                self._ready.set_result(None)
            case Opened() | OpenFailed():
                self._opening.pop(event.call).set_result(event)
            case Connected(call):
                self._connecting.pop(call).set_result(event)
            case Moving(call):
                self._moving.pop(call).set_result(None)
            case SendingStopped(call, complete):
                self._stopping.pop(call).set_result(complete)
            case Tick():
                self._on_tick(event)
            case CallStreams():
                self._on_streams(event)
            case Finished():
                self._finished.set_result(event)

    def _fail_waiting(self) -> None:
        self._gone = True
        waiting: list[asyncio.Future[Any]] = [*self._opening.values(), *self._connecting.values()]
        waiting += [*self._moving.values(), *self._stopping.values(), self._ready, self._finished]
        for future in waiting:
            if not future.done():
                future.set_exception(self._is_gone())
                future.exception()  # it reaches the waiting task; without one it is no error

    def _is_gone(self) -> LoadFailed:
        return LoadFailed(f"worker process {self.process.pid} {self._why}")


@contextlib.asynccontextmanager
async def running_workers(
    configurations: list[Configure],
    on_tick: Callable[[Tick], None],
    on_streams: Callable[[CallStreams], None],
) -> AsyncIterator[list[WorkerHandle]]:
    """Workers, one for each configuration, that take orders and end with the context.

    Raises:
        LoadFailed: one ends before it is ready.
    """
    handles: list[WorkerHandle] = []
    listeners: list[asyncio.Task[None]] = []
    try:
        for configuration in configurations:
            handle = await _start(configuration, on_tick, on_streams)
            handles.append(handle)
            listeners.append(asyncio.create_task(handle.listen()))
        await asyncio.gather(*(handle.ready() for handle in handles))
        yield handles
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        for handle in handles:
            handle.end()


async def _start(
    configuration: Configure, on_tick: Callable[[Tick], None], on_streams: Callable[[CallStreams], None]
) -> WorkerHandle:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tools.rtpload.worker", "--link-fd", str(theirs.fileno())]
        path = os.pathsep.join(filter(None, [_SOURCES, os.environ.get("PYTHONPATH", "")]))
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C in the terminal is for the coordinator alone
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    writer.write(encode(configuration))
    return WorkerHandle(process, reader, writer, on_tick, on_streams)
