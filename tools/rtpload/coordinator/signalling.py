"""The SIP proxies' part: threads that send commands to the relay, each over a control of its own.

Commands block, so they are given to threads; the coordinator awaits them. A call's commands follow each
other, those of different calls go side by side, as many as there are threads.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from tools.rtpload.controls.interface import Control
from tools.rtpload.ends import Targets, TransactionKey

T = TypeVar("T")


class Signalling:
    """See the module; an asynchronous context manager, which waits for the commands that are under way.

    Args:
        make_control: makes a thread's control.
        threads: how many.

    What its methods raise is what Control's do.
    """

    def __init__(self, make_control: Callable[[], Control], threads: int) -> None:
        self._make_control = make_control
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="signalling")
        self._local = threading.local()
        self._controls: list[Control] = []

    async def check(self) -> None:
        """Return if the relay answers."""
        await self._run(lambda control: control.check())

    async def negotiate(self, key: TransactionKey, phones: Targets, *, hold: bool = False) -> Targets:
        """INVITE or re-INVITE: media between these phones. Returns where they have to send."""
        return await self._run(
            lambda control: control.negotiate(key, phones.caller, phones.callee, hold=hold)
        )

    async def tear_down(self, key: TransactionKey) -> None:
        """BYE."""
        await self._run(lambda control: control.tear_down(key))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        for control in self._controls:
            with contextlib.suppress(OSError):
                control.close()

    async def _run(self, command: Callable[[Control], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._in_thread, command)

    def _in_thread(self, command: Callable[[Control], T]) -> T:
        control: Control | None = getattr(self._local, "control", None)
        if control is None:
            control = self._local.control = self._make_control()
            self._controls.append(control)
        return command(control)
