"""What `nh run` does as a standby: it has everything ready but the calls' sockets, and follows the calls.

It serves nothing but its own state: health, statistics, promotion. It ends when a group of calls is this
relay's, and the supervisor goes on with it.
"""

import contextlib
import enum
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nh.commands import Command, GetStats, Ping, Promote, Reload, Upgrade
from nh.errors import NhError, Refused, ShardUnavailable, StatsUnavailable
from nh.printable import counted
from nh.reasons import shortage
from nh.results import Failure, Pong, Promoting, Result, Stats, Upgrading
from nh.room import telling_shortages
from nh.rpc.events import RequestOrigin
from nh.stats import StatsReader
from nh.stats.standby import standby_line
from nh.supervisor.host.signals import signals_on
from nh.supervisor.publisher import Publisher
from nh.supervisor.runtime import Runtime
from nh.supervisor.standby.follow import AWAY_S, Following
from nh.supervisor.store.deadline import deadline_stands
from nh.supervisor.store.open import WantedGroup
from nh.threads import start_thread
from nh.version import __version__

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.follower import Follower
    from nh.supervisor.store.valkey.followers import Followers
    from nh.supervisor.store.valkey.standing import Standing

logger = logging.getLogger(__name__)

TELL_S: Final = 5.0
"""How often the service manager is told how far the standby is."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Outcome(enum.Enum):
    """How the phase ended: with calls, by a signal, or to be begun anew with the installed code."""

    PROMOTED = enum.auto()
    ENDED = enum.auto()
    ANEW = enum.auto()


class Standby:
    """The phase of a standby.

    Args:
        runtime: the host's resources, without a store.
        followers: one for each group of calls.
    """

    def __init__(self, runtime: Runtime, followers: "Followers") -> None:
        self._runtime = runtime
        self._followers = followers
        self._outcome: Outcome | None = None
        self._taken = ""
        self._orphans_are_old = False
        self._free = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._following = Following(followers, on_free=lambda: os.eventfd_write(self._free, 1))
        self._names = ", ".join(each.group for each in followers)

    def run(self) -> Outcome:
        """Follow until a group is this relay's, or until it is to end; returns which."""
        runtime = self._runtime
        runtime.stats.standby, runtime.stats.standby_since = 1, time.time()
        publisher = Publisher(runtime.loop, runtime.segment, runtime.stats, self._update_stats)
        runtime.loop.add_reader(self._free, self._on_free)
        with signals_on(runtime.loop, _SIGNALS, self._on_signal) as leave_signals:
            runtime.zygote.start(lambda: None)
            runtime.rpc.serve(self._dispatch)
            runtime.start_http()
            runtime.notifier.ready(self._status_line())
            self._tell()
            self._follow()
            runtime.loop.run()
            self._following.stop()
            if self._outcome is not Outcome.ENDED:  # they are the supervisor's, or the installed code's
                leave_signals(())
        publisher.stop()
        runtime.loop.remove_reader(self._free)
        os.close(self._free)
        assert self._outcome is not None  # it stops the loop
        self._leave(self._outcome)
        return self._outcome

    def _leave(self, outcome: Outcome) -> None:
        runtime = self._runtime
        runtime.stats.standby, runtime.stats.standby_since = 0, 0.0
        runtime.stats.standby_calls, runtime.stats.standby_lag_s = 0, 0.0
        if outcome is Outcome.PROMOTED:
            runtime.rpc.stop_reading()
            runtime.rpc.release_connections()  # those of the relay that serves from now on
            # the calls do not wait for a server that is slow to hear it
            leave = threading.Thread(
                target=self._followers.leave, args=(self._taken,), name="leave", daemon=True
            )
            with contextlib.suppress(OSError):  # then the server forgets this standby by itself
                start_thread(leave)
            return
        if outcome is Outcome.ENDED:
            runtime.notifier.stopping()
            self._followers.leave()
        runtime.rpc.close()

    def _end(self, outcome: Outcome) -> None:
        self._outcome = self._outcome or outcome
        # in the next turn: signals that came during a promotion are read before
        self._runtime.loop.call_later(0, self._runtime.loop.stop)

    # --- promotion --------------------------------------------------------------------------------

    def _on_free(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._free)
        follower = self._following.free
        if follower is None or self._outcome is not None:
            return
        self._take(WantedGroup(follower.group, follower))

    def _promote(self, command: Promote) -> Promoting | Failure:
        found = [each for each in self._followers if command.group in ("", each.group)]
        if len(found) != 1:
            what = f"no calls of {command.group} are followed here" if command.group else "say whose calls"
            return Failure.of(Refused(f"{what}; this is a standby for {self._names}"))
        (follower,) = found
        standing = self._following.standings.get(follower.group)
        failure = self._following.failure
        if standing is None or (failure and not command.force):  # what failed may be a promotion without it
            return Failure.of(Refused(f"the store cannot be asked: {failure or 'not yet'}"))
        if not standing.opens and follower.calls:
            return Failure.of(Refused(f"{follower.group}: {follower.find_obstacle(standing)}"))
        if command.force:
            self._runtime.loop.call_later(
                0, lambda: self._take(WantedGroup(follower.group, follower, force=True))
            )
            return Promoting(follower.group, "")
        self._following.want(follower.group)
        return Promoting(follower.group, standing.holder)

    def _take(self, group: WantedGroup) -> None:
        self._following.stop()
        if self._outcome is not None:
            return
        begun = time.monotonic()
        try:
            with telling_shortages():
                self._runtime.open_store(group)
        except NhError as exc:  # another relay was faster; or the server, or a file, cannot be used now
            self._following.fail(f"not promoted: {exc}")
        except Exception:  # a bug in nh, which the loop logs
            self._following.fail("not promoted: a bug in nh; the log has it")
            raise
        else:
            logger.warning(
                "standby for %s: promoted: this relay has the calls now (%.0f ms)",
                *(group.name, 1000 * (time.monotonic() - begun)),
            )
            self._taken = group.name
            self._end(Outcome.PROMOTED)
            if self._orphans_are_old:
                self._kill_orphans()
        finally:
            self._follow()

    def _follow(self) -> None:
        """Follow, if this is a standby still; where there is no thread for it, try again a second later."""
        if self._outcome is not None or self._following.running:
            return
        try:
            self._following.start()
        except OSError as exc:
            self._following.fail(f"the calls cannot be followed: {shortage(exc)}")
            self._runtime.loop.call_later(AWAY_S, self._follow)

    # --- what it says of itself -------------------------------------------------------------------

    def _update_stats(self) -> None:
        self._runtime.update_stats()
        self._end_orphans()
        self._following.describe(self._runtime.stats)

    def _end_orphans(self) -> None:
        """End shards of the run before when another relay has the calls; they cannot learn it themselves.

        Those that a deadline ends relay until then, as the address may move meanwhile. They end before that
        if this relay gets calls: what they have of these is old.
        """
        orphans, standings = self._runtime.orphans, self._following.standings
        lost = all(self._is_lost(each, standings.get(each.group)) for each in self._followers)
        if not orphans or not lost or self._following.free is not None:
            return
        self._orphans_are_old = True
        if not deadline_stands(self._runtime.settings.runtime_path):
            self._kill_orphans()

    @staticmethod
    def _is_lost(follower: "Follower", standing: "Standing | None") -> bool:
        """Whether another relay has the group: a server that has lost its data does not tell."""
        return standing is not None and bool(standing.holder) and not follower.is_free(standing)

    def _kill_orphans(self) -> None:
        orphans = self._runtime.orphans
        if living := sum(each.lives for each in orphans):
            logger.warning(
                "another relay has had the calls since: ending %s of the run before", counted(living, "shard")
            )
        for orphan in orphans:
            orphan.kill()
        orphans.clear()

    def _status_line(self) -> str:
        self._update_stats()
        return standby_line(self._runtime.stats)

    def _tell(self) -> None:
        if self._outcome is None:
            self._runtime.loop.call_later(TELL_S, self._tell)
            self._runtime.notifier.status(self._status_line())

    def _dispatch(self, command: Command, reply: Callable[[Result], None], origin: RequestOrigin) -> None:
        match command:
            case Ping() if origin.protocol == "native":
                reply(Pong(__version__))
            case GetStats() if origin.protocol == "native":
                try:
                    reply(Stats(StatsReader(self._runtime.segment).read().to_builtins()))
                except StatsUnavailable as exc:
                    reply(Failure.of(exc))
            case Promote():
                reply(self._promote(command))
            case Reload():
                why = "a standby reads its settings when it starts; nh upgrade starts it anew"
                reply(Failure.of(Refused(why)))
            case Upgrade():
                reply(Upgrading(__version__))
                self._runtime.loop.call_later(0, lambda: self._end(Outcome.ANEW))
            case _:
                reply(self._refusal())

    def _refusal(self) -> Failure:
        line = self._status_line()
        holders = dict.fromkeys(each.holder for each in self._runtime.stats.followed if each.holder)
        ask = f"ask the relay that has the calls: {', '.join(holders) or 'it is not known yet'}"
        return Failure.of(ShardUnavailable(f"nh is a {line}; {ask}"))

    def _on_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGHUP | signal.SIGUSR2:
                logger.info("%s: a standby has no calls; it starts anew with its settings", number.name)
                self._end(Outcome.ANEW)
            case signal.SIGUSR1:
                logger.info("%s: a standby has no calls to wait for; nothing is drained", number.name)
            case _:
                logger.info("%s: ending", number.name)
                self._outcome = None  # the calls of a promotion are given up
                self._end(Outcome.ENDED)
