"""Lists of calls: the page that ListCalls asks for, made in steps so that no packet waits for a list.

A step looks at one call. CallLister runs the steps of one list at a time, a millisecond's worth in a turn of
the loop, with a pause of the same length between two turns.
"""

import collections
import ipaddress
import logging
import time
from collections.abc import Callable, Generator
from typing import Final, NamedTuple

from nh.calls.call import Call
from nh.calls.leg import Leg
from nh.calls.media_arrival import has_audio, is_answered, main_medium, media_state
from nh.calls.media_state import MediaState
from nh.calls.session import Session
from nh.calls.table import CallTable
from nh.commands import CallOrder, ListCalls
from nh.loop import Loop, Timer
from nh.results import CallList, CallSummary, EndSummary, Failure
from nh.shard.views.id_index import KEEP_S, IdIndex
from nh.shard.views.stream_details import figures_of

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES: Final = 100 * 1024
"""Most bytes of one page, which has to fit into one message of the internal link."""

LINE_BYTES: Final = 520
"""Most bytes of a line of a list, without its call-id."""

SLICE_S: Final = 0.001
PAUSE_S: Final = 0.001

Steps = Generator[None, None, CallList]


class CallLister:
    """Makes the lists of one relay.

    Args:
        table: the calls.
        shard: number of this shard.
    """

    def __init__(self, table: CallTable, shard: int) -> None:
        self._table = table
        self._shard = shard
        self._ids = IdIndex(table)
        self._waiting: collections.deque[tuple[Steps, Callable[[CallList | Failure], None]]] = (
            collections.deque()
        )
        self._timer: Timer | None = None
        self._forget_timer: Timer | None = None

    def make(self, command: ListCalls) -> CallList:
        """The list, at once."""
        steps = list_in_steps(self._table, IdIndex(self._table), command, shard=self._shard)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                page: CallList = end.value
                return page

    def begin(self, loop: Loop, command: ListCalls, reply: Callable[[CallList | Failure], None]) -> None:
        """Make the list beside what else runs on `loop`; `reply` is called once, now or later."""
        steps = list_in_steps(self._table, self._ids, command, shard=self._shard)
        self._waiting.append((steps, reply))
        if len(self._waiting) == 1:
            self._advance(loop)

    def close(self) -> None:
        """Make no further list; those that wait get no reply."""
        self._waiting.clear()
        for timer in (self._timer, self._forget_timer):
            if timer is not None:
                timer.cancel()

    def _advance(self, loop: Loop) -> None:
        until = time.monotonic() + SLICE_S
        try:
            self._step()
            while self._waiting and time.monotonic() < until:
                self._step()
        finally:  # a reply that fails holds up no other list
            if self._waiting:
                self._timer = loop.call_later(PAUSE_S, lambda: self._advance(loop))
            elif self._forget_timer is None:
                self._forget_timer = loop.call_later(KEEP_S, self._forget)

    def _forget(self) -> None:
        self._forget_timer = None
        self._ids.forget()

    def _step(self) -> None:
        steps, reply = self._waiting[0]
        result: CallList | Failure
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
        except Exception:
            logger.exception("a list of calls failed: this is a bug in nh, calls go on")
            result = Failure("internal", "the list failed inside nh; its log says why")
        else:
            return
        self._waiting.popleft()
        reply(result)


class _Candidate(NamedTuple):
    """A call that may be in the page.

    Attributes:
        rank: its place in the order.
    """

    rank: tuple[float, bytes]
    call: Call
    summary: CallSummary


def list_in_steps(
    table: CallTable,
    ids: IdIndex,
    command: ListCalls,
    *,
    shard: int,
    clock: Callable[[], float] = time.monotonic,
) -> Steps:
    """Make a page of calls, in steps; a page shorter than `limit` may have more behind it, too.

    Args:
        table: the calls; they may change between two steps.
        ids: their order, kept for the next page of the same list.
        command: which calls.
        shard: number of this shard.
        clock: monotonic seconds.
    """
    if command.sort is CallOrder.CALL_ID:
        return _page_by_id(table, ids, command, shard=shard, clock=clock)
    return _first_page(table, command, shard=shard, clock=clock)


def _page_by_id(
    table: CallTable, ids: IdIndex, command: ListCalls, *, shard: int, clock: Callable[[], float]
) -> Steps:
    """The calls behind `command.after`: looks at those of this page, and at no others."""
    page: list[CallSummary] = []
    size = 0
    wanted = _Condition(command)
    order, first = yield from ids.following(command.after)
    for index in range(first, len(order)):
        yield
        call = table.find_call(order[index])
        if call is None or not wanted(call, clock()):
            continue
        size += len(call.call_id) + LINE_BYTES
        if page and (len(page) == command.limit or size > MAX_PAGE_BYTES):
            return CallList(tuple(page), page[-1].call_id, more=True)
        page.append(summarise_call(call, shard=shard, now=clock()))
    return CallList(tuple(page), b"", more=False)


def _first_page(table: CallTable, command: ListCalls, *, shard: int, clock: Callable[[], float]) -> Steps:
    """The first calls in an order for which all calls have to be looked at."""
    found: list[_Candidate] = []
    matching = 0
    wanted = _Condition(command)
    for call in list(table):
        yield
        if table.find_call(call.call_id) is not call or not wanted(call, clock()):
            continue
        summary = summarise_call(call, shard=shard, now=clock())
        found.append(_Candidate(command.sort.rank(summary), call, summary))
        matching += 1
        if len(found) > 2 * command.limit:
            _keep_first(found, command.limit)
    _keep_first(found, command.limit)
    page: list[CallSummary] = []
    size = 0
    for _, call, summary in found:
        yield
        size += len(call.call_id) + LINE_BYTES
        if page and size > MAX_PAGE_BYTES:
            break
        if table.find_call(call.call_id) is call:
            page.append(summary)
        matching -= 1
    return CallList(tuple(page), b"", more=matching > 0)


def _keep_first(found: list[_Candidate], limit: int) -> None:
    found.sort(key=lambda candidate: candidate.rank)
    del found[limit:]


class _Condition:
    """Whether a call is one of those that a command asks for."""

    def __init__(self, command: ListCalls) -> None:
        self._contains = command.contains
        self._network = ipaddress.ip_network(command.address) if command.address else None
        states = {MediaState.ONE_WAY: command.one_way, MediaState.SILENT: command.silent}
        self._states = {state for state, asked in states.items() if asked}
        self._inside: dict[str, bool] = {}

    def __call__(self, call: Call, now: float) -> bool:
        if self._contains not in call.call_id:
            return False
        if self._network is not None and not any(self._has(address) for address in _addresses(call)):
            return False
        if not self._states:
            return True
        call.note(now=now)
        return media_state(call, now=now) in self._states

    def _has(self, address: str) -> bool:
        """Whether an address is in the network; a host name of an SDP is in none."""
        inside = self._inside.get(address)
        if inside is None:
            try:
                inside = self._network is not None and ipaddress.ip_address(address) in self._network
            except ValueError:
                inside = False
            self._inside[address] = inside
        return inside


def _addresses(call: Call) -> set[str]:
    """The addresses of the ends of a call: announced, of the signalling, and found by their packets."""
    media = [medium for _, group in call.groups for medium in group.media]
    found = {address for medium in media for address in (medium.address, medium.signalled_from)}
    legs = [leg for session in call.running for leg in session.legs]
    return found | {leg.source.address for leg in legs if leg.source is not None}


def summarise_call(call: Call, *, shard: int, now: float) -> CallSummary:
    """A call as one line of a list."""
    call.note(now=now)
    legs = [leg for session in call.running for leg in session.legs]
    session = _latest_session(call)
    medium = None if session is None else main_medium(session)
    from_ = to = None
    if medium is not None:
        kind, *legs_of_medium = medium
        from_, to = (_end(leg, kind, now=now) for leg in legs_of_medium)
    return CallSummary(
        call_id=call.call_id,
        shard=shard,
        age_s=round(now - call.created, 3),
        idle_s=round(now - call.last_active, 3),
        sessions=sum(session.replaced_at is None for session in call.running),
        sockets=len({id(socket) for _, group in call.groups for socket in group.all_sockets}),
        packets=sum(leg.packets for leg in legs),
        bytes=sum(leg.bytes for leg in legs),
        state=media_state(call, now=now),
        from_=from_,
        to=to,
    )


def _latest_session(call: Call) -> Session | None:
    """Of the sessions that no other has replaced the best: between two ends, with audio, the latest."""
    current = [
        (is_answered(cseq, each), has_audio(each), each.created, each)
        for cseq, each in call.sessions
        if each.replaced_at is None
    ]
    return max(current, key=lambda ranked: ranked[:3], default=(False, False, 0.0, None))[3]


def _end(leg: Leg, kind: str, *, now: float) -> EndSummary:
    address = leg.transport.source or leg.announced
    stream = max(leg.streams, key=lambda stream: stream.packets, default=None)
    figures = None
    if stream is not None and leg.payload_types is not None:
        figures = figures_of(stream, leg.payload_types, kind)
    return EndSummary(
        address=None if address is None else str(address),
        encoding="" if figures is None else figures.encoding,
        packets=leg.packets,
        loss_ratio=None if figures is None else figures.loss_ratio,
        mos=None if figures is None else figures.mos,
        idle_s=None if leg.last_seen is None else round(now - leg.last_seen, 3),
    )
