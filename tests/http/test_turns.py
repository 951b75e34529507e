"""nh.http.turns: the order of requests to nh, and which are refused."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.errors import ShardUnavailable
from nh.http.turns import Turns

REFUSED = "refused"


class Requests:
    """Requests that take turns, by their names, of which the first character is the client.

    Args:
        at_once, most_waiting: see Turns.

    Attributes:
        served: the names of those that have got a turn, in this order.
        refused: those that were refused.
    """

    def __init__(self, at_once: int = 1, most_waiting: int = 100) -> None:
        self.served: list[str] = []
        self.refused: list[str] = []
        self._turns = Turns(at_once, most_waiting, lambda: ShardUnavailable(REFUSED))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    @property
    def under_way(self) -> int:
        """How many have a turn."""
        return sum(not self._tasks[name].done() for name in self.served)

    async def begin(self, *names: str) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._run(name))
            await settled()

    async def _run(self, name: str) -> None:
        try:
            await self._turns.take(name[0])
        except ShardUnavailable:
            self.refused.append(name)
            return
        self.served.append(name)
        try:
            await self._ends[name].wait()
        finally:
            self._turns.give_back()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settled()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await settled()

    async def end_and_cancel(self, ended: str, cancelled: str) -> None:
        """End a request, and cancel another one that has got the turn and does not know it yet."""
        self._ends[ended].set()
        await asyncio.sleep(0)  # until it ends
        self._tasks[cancelled].cancel()
        await settled()

    async def end_all(self) -> None:
        """End each when it has got its turn."""
        for end in self._ends.values():
            end.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(bounded())


def test_clients_get_turns_in_rotation() -> None:
    async def test() -> None:
        requests = Requests()
        await requests.begin("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        await requests.end_all()
        assert requests.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    run(test)


def test_beyond_the_most_waiting_the_latest_request_of_the_client_with_most_is_refused() -> None:
    async def test() -> None:
        requests = Requests(most_waiting=3)
        await requests.begin("a1", "a2", "a3", "a4", "a5")
        assert requests.refused == ["a5"]
        await requests.begin("b1", "c1", "c2")
        assert requests.refused == ["a5", "a4", "a3", "c2"]
        await requests.end_all()
        assert requests.served == ["a1", "a2", "b1", "c1"]

    run(test)


def test_a_request_that_is_cancelled_while_it_gets_its_turn_passes_it_on() -> None:
    async def test() -> None:
        requests = Requests()
        await requests.begin("a1", "b1", "c1")
        await requests.end_and_cancel("a1", "b1")
        await requests.end_all()
        await requests.begin("d1")
        assert requests.served[-1] == "d1"
        assert "c1" in requests.served

    run(test)


def test_a_request_that_is_cancelled_while_it_waits_leaves_its_place_to_another() -> None:
    async def test() -> None:
        requests = Requests(most_waiting=1)
        await requests.begin("a1", "a2")
        await requests.cancel("a2")
        await requests.begin("a3")
        await requests.end_all()
        assert requests.served == ["a1", "a3"]

    run(test)


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.sampled_from("abc"), st.integers(0, 9))
    )
)
def test_whatever_happens_no_turn_is_lost_and_none_is_given_twice(steps: list[tuple[str, str, int]]) -> None:
    async def test() -> None:
        requests = Requests(at_once=2, most_waiting=4)
        begun: dict[str, None] = {}
        for number, (step, client, which) in enumerate(steps):
            if step == "begin":
                begun[f"{client}{number}"] = None
                await requests.begin(f"{client}{number}")
            elif begun:
                name = [*begun][which % len(begun)]
                del begun[name]
                await (requests.end(name) if step == "end" else requests.cancel(name))
            assert requests.under_way <= 2
        await requests.end_all()
        await requests.begin("x1", "x2", "x3")
        assert requests.served[-2:] == ["x1", "x2"]
        await requests.end_all()
        assert requests.served[-1] == "x3"

    run(test)


@pytest.mark.parametrize("most_waiting", [0, 1])
def test_without_places_to_wait_a_request_is_refused_at_once(most_waiting: int) -> None:
    async def test() -> None:
        requests = Requests(most_waiting=most_waiting)
        await requests.begin("a1", *[f"b{number}" for number in range(most_waiting)], "b9")
        assert requests.refused == ["b9"]
        await requests.end_all()

    run(test)
