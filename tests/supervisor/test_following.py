"""A standby that follows calls in a thread goes on with that once the host has a thread for it."""

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from nh.supervisor.standby.follow import AWAY_S, Following
from nh.supervisor.standby.phase import Standby
from nh.supervisor.store.open import WantedGroup
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


def test_a_promotion_that_meets_a_shortage_says_which_limit_to_raise() -> None:
    loop, followers = ManualLoop(), Polled()

    def open_store(_group: WantedGroup) -> None:
        raise OSError(errno.EAGAIN, "no thread can be started")

    standby = Standby(
        cast("Any", SimpleNamespace(loop=loop, open_store=open_store)), cast("Followers", followers)
    )
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patched, no_threads("standby"):
        patched.setattr(standby._following, "fail", said.append)
        standby._take(WantedGroup("group"))
    assert said[0].startswith("not promoted: no thread can be started; raise the limit on processes")


class Held:
    """One group that relays have, one after the other; is asked once for each, then for the last."""

    def __init__(self, *holders: str) -> None:
        self.all_seen = threading.Event()
        self._holders = list(holders)

    def __iter__(self) -> Iterator[Any]:
        return iter([self._follower])

    def poll(self) -> Iterator[Any]:
        holder = self._holders.pop(0) if len(self._holders) > 1 else self._holders[0]
        yield self._follower, SimpleNamespace(holder=holder)
        if len(self._holders) == 1:
            self.all_seen.set()

    _follower = SimpleNamespace(group="east", calls=3, find_obstacle=lambda _: "", is_free=lambda _: False)


def test_a_standby_says_once_which_relay_has_the_calls_until_another_one_has_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("nh.supervisor.standby.follow.POLL_S", 0.001)
    held = Held("alpha", "alpha", "alpha", "beta", "beta", "alpha", "alpha")
    following = Following(cast("Followers", held), on_free=lambda: None)
    following.start()
    assert held.all_seen.wait(TIMEOUT_S)
    following.stop()
    assert [line.partition("the relay ")[2].partition(" has")[0] for line in caplog.messages] == [
        "alpha",
        "beta",
        "alpha",
    ]


@pytest.mark.parametrize("holder", ["", "alpha"], ids=["a server without data", "another relay has them"])
def test_only_a_server_that_knows_another_relay_ends_the_shards_of_the_run_before(
    tmp_path: Path, holder: str
) -> None:
    killed: list[str] = []
    orphans = [SimpleNamespace(lives=True, kill=lambda: killed.append("shard"))]
    runtime = SimpleNamespace(orphans=orphans, settings=SimpleNamespace(runtime_path=tmp_path))
    standby = Standby(cast("Any", runtime), cast("Followers", Held("alpha")))
    standby._following.standings["east"] = cast("Any", SimpleNamespace(holder=holder))
    standby._end_orphans()
    assert killed == (["shard"] if holder else [])
