"""A standby that follows calls in a thread goes on with that once the host has a thread for it."""

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from nh.supervisor.standby.follow import AWAY_S
from nh.supervisor.standby.phase import Standby
from tests.no_threads import no_threads
from tests.supervisor.manual_loop import ManualLoop
from tools.harness.waiting import TIMEOUT_S

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.followers import Followers


class Polled:
    """Followers of no group.

    Attributes:
        once: set once they are asked.
    """

    def __init__(self) -> None:
        self.once = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def poll(self) -> Iterator[Any]:
        self.once.set()
        return iter(())


def test_a_standby_follows_once_the_host_has_a_thread() -> None:
    loop, followers = ManualLoop(), Polled()
    standby = Standby(cast("Any", SimpleNamespace(loop=loop)), cast("Followers", followers))
    with contextlib.ExitStack() as stack:
        stack.callback(standby._following.stop)
        with no_threads("standby"):
            standby._follow()
            assert "raise the limit on processes" in standby._following.failure
            loop.advance(AWAY_S)
            standby._following.stop()  # as before a promotion
        loop.advance(AWAY_S)
        assert followers.once.wait(TIMEOUT_S)
        before = standby._following._thread
        standby._follow()
        assert standby._following._thread is before, "one thread follows"
