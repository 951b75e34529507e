"""Work on many subjects, some in each turn of the loop: packets and commands have their turns in between."""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from nh.loop import Loop, Timer

WORK_S: Final = 0.003
"""How long a turn begins to work on further subjects. A batch of packets takes a third of that: the packets
of a socket that is to be connected, or to have a flow, cost several times as much until its turn has come."""

MIN_A_TURN: Final = 4
"""A turn works on so many, however long it takes: the legs of a call latch together."""

Subject = TypeVar("Subject")


class InTurns(Generic[Subject]):
    """Subjects that something has to be done for, each once, in the order in which they came.

    Args:
        work: what is done for each. It must not raise.
        clock: monotonic seconds.
    """

    def __init__(
        self, work: Callable[[Subject], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work = work
        self._clock = clock
        self._waiting: OrderedDict[Subject, None] = OrderedDict()
        self._loop: Loop | None = None
        self._timer: Timer | None = None  # of the next turn

    def attach(self, loop: Loop) -> None:
        """Have the turns on `loop` from now on; without one, a turn works on all subjects."""
        self._loop = loop
        if self._waiting:
            self.begin()

    def detach(self) -> None:
        """Have no turn until attach(), on the same loop or another."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, subjects: Iterable[Subject]) -> bool:
        """Add subjects; returns whether they are the first, so that the caller has to begin a turn."""
        was_empty = not self._waiting
        for subject in subjects:
            self._waiting[subject] = None
        return was_empty and bool(self._waiting)

    def discard(self, subject: Subject) -> None:
        """Do nothing for a subject any more."""
        self._waiting.pop(subject, None)

    def clear(self) -> None:
        """Do nothing for any of them."""
        self._waiting.clear()

    def begin(self) -> None:
        """Have a turn, behind the packets and commands that wait now."""
        if self._loop is not None and self._timer is None:
            self._timer = self._loop.call_later(0, self._on_time)

    def turn(self) -> None:
        """Work on some now, and on the others in later turns."""
        until = self._clock() + WORK_S
        for number in itertools.count(1):
            if not self._waiting:
                break
            self._work(self._waiting.popitem(last=False)[0])
            if number >= MIN_A_TURN and self._loop is not None and self._clock() >= until:
                break
        if not self._waiting:
            self._waiting = OrderedDict()  # an emptied dictionary is as large as it ever was
        else:
            self.begin()

    def _on_time(self) -> None:
        self._timer = None
        self.turn()
