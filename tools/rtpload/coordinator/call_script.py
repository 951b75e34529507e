"""What happens to one call from beginning to end, told as it happens.

Media are counted only while the relay has to carry them: the phones begin to send when the set-up is done,
and fall silent and wait for the last packets before the tear-down begins.
"""

import asyncio
import contextlib

from nh.errors import NhError
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.coordinator.plan import CallPlan, StepKind
from tools.rtpload.coordinator.signalling import Signalling
from tools.rtpload.coordinator.starting_line import StartingLine
from tools.rtpload.coordinator.workers import WorkerHandle
from tools.rtpload.ends import Targets, TransactionKey
from tools.rtpload.errors import NotConnected, PhonesUnavailable
from tools.rtpload.report.progress import HANDSHAKE, NO_PHONES, SET_UP, RunCounters


class CallScript:
    """One call.

    Args:
        plan: what shall happen.
        run: the name of the run, in the call-id.
        worker: where its media are.
        signalling: who tells the relay.
        counters: where it is noted.
        stop: set when the load is to end.
        times: of commands; a handshake counts as one.
        starting_line: holds handshakes back; None: they begin as soon as they can.
    """

    def __init__(
        self,
        plan: CallPlan,
        *,
        run: str,
        worker: WorkerHandle,
        signalling: Signalling,
        counters: RunCounters,
        stop: asyncio.Event,
        times: CommandTimes,
        starting_line: StartingLine | None = None,
    ) -> None:
        self._plan = plan
        self._worker = worker
        self._signalling = signalling
        self._counters = counters
        self._stop = stop
        self._times = times
        self._starting_line = starting_line
        name = f"{run}-{plan.number}"
        self._key = TransactionKey(f"{name}@rtpload", f"from-{name}", f"to-{name}", 1)
        self._targets: Targets | None = None

    async def set_up(self) -> bool:
        """Bring the call up; whether that worked. Raises LoadFailed if the worker is gone."""
        targets = await self._negotiate()
        if self._starting_line is not None:
            await self._starting_line.arrive()
        if targets is None or not await self._connect(targets):
            return False
        self._targets = targets
        self._worker.start_sending(self._plan.number, targets)
        self._counters.call_is_up()
        return True

    async def _negotiate(self) -> Targets | None:
        """Where both phones have to send; None if there are no phones, or the relay refuses."""
        number = self._plan.number
        try:
            self._phones = await self._worker.open(number, one_way=self._plan.one_way)
        except PhonesUnavailable as exc:
            self._counters.failed(NO_PHONES, exc)
            return None
        try:
            return await self._signalling.negotiate(self._key, self._phones)
        except NhError as exc:
            self._counters.failed(SET_UP, exc)
            await self._give_up()
            return None

    async def _connect(self, targets: Targets) -> bool:
        """Let a callee that is a browser agree on keys with the relay; whether it has."""
        if targets.callee.browser is None:
            return True
        connected = await self._worker.connect(self._plan.number, targets.callee)
        if connected.problem:
            self._counters.failed(HANDSHAKE, NotConnected(connected.problem))
            await self._give_up()
            return False
        self._times.record("handshake", connected.took_ns)
        return True

    async def _give_up(self) -> None:
        """What the relay did allocate goes, and the phones, too; often the relay has nothing."""
        with contextlib.suppress(NhError):
            await self._signalling.tear_down(self._key)
        self._worker.hang_up(self._plan.number)

    async def play(self) -> None:
        """Let the call live, until its time is over or the load's, and end it."""
        up_s = asyncio.get_running_loop().time()
        for step in self._plan.steps:
            if await self._stopped_before(up_s + step.at_s):
                break
            await self._do(step.kind)
        else:
            life_s = self._plan.life_s
            await self._stopped_before(None if life_s is None else up_s + life_s)
        complete = await self._worker.stop_sending(self._plan.number)
        self._counters.call_ended(complete=complete)
        try:
            await self._signalling.tear_down(self._key)
        except NhError as exc:
            self._counters.failed("tear-down", exc)
        self._worker.hang_up(self._plan.number)

    async def _do(self, kind: StepKind) -> None:
        number = self._plan.number
        if kind is StepKind.HOLD:
            await self._worker.stop_sending(number)
        elif kind is StepKind.REINVITE:
            await self._worker.move(number)
        targets = await self._renegotiate(kind)
        if kind is not StepKind.HOLD and targets is not None:
            self._targets = targets
        if kind is not StepKind.HOLD and self._targets is not None:
            self._worker.start_sending(number, self._targets)

    async def _renegotiate(self, kind: StepKind) -> Targets | None:
        """Where to send from now on, or None if the relay refuses."""
        self._key = self._key._replace(cseq=self._key.cseq + 1)
        try:
            targets = await self._signalling.negotiate(self._key, self._phones, hold=kind is StepKind.HOLD)
        except NhError as exc:
            self._counters.failed(kind, exc)
            return None
        self._counters.negotiations[kind] += 1
        return targets

    async def _stopped_before(self, deadline_s: float | None) -> bool:
        """Wait for a time of the loop's clock, None for ever; whether the load was ended before."""
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True
