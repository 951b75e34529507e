"""What is done to a relay: each fault from the moment when it strikes until the relay is whole again.

All chance comes from the caller's generator: the same seed does the same to the same shards.
"""

import enum
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tools.survive.relay import Relay, wait_for

BACK_S: Final = 20.0
"""How long to wait for a successor; what it should take is a promise, not this."""

IN_A_ROW: Final = 10


class FaultKind(enum.StrEnum):
    """What can be done to a relay."""

    NONE = "none"
    KILL_SHARD = "kill-shard"
    KILL_SHARD_TEN_TIMES = "kill-shard-ten-times"
    KILL_EVERY_SHARD = "kill-every-shard"
    HANG_SHARD = "hang-shard"
    KILL_SUPERVISOR = "kill-supervisor"
    UPGRADE = "upgrade"
    MORE_SHARDS = "more-shards"
    FEWER_SHARDS = "fewer-shards"
    TAKEOVER = "takeover"
    KILL_ALL = "kill-all"
    RESTART = "restart"


class Injected(NamedTuple):
    """A fault that is over.

    Arguments:
        kind: which.
        began_ns, over_ns: of the monotonic clock; over: every shard was up again.
        started_ns: when nh was started anew; 0 where it was not.
        what: in words, what it was done to.
    """

    kind: FaultKind
    began_ns: int
    over_ns: int
    started_ns: int
    what: str

    def __str__(self) -> str:
        took_ms = (self.over_ns - self.began_ns) / 1e6
        return f"{self.kind}: {self.what}; whole again after {took_ms:.0f} ms"


def inject(kind: FaultKind, relay: Relay, rng: random.Random) -> Injected:
    """Let it happen, and wait until the relay is whole again. Raises RelayFailed if it never is."""
    began_ns = time.monotonic_ns()
    before_ns = relay.started_ns
    what = _DEEDS[kind](relay, rng)
    started_ns = relay.started_ns if relay.started_ns != before_ns else 0
    return Injected(kind, began_ns, time.monotonic_ns(), started_ns, what)


def _nothing(_relay: Relay, _rng: random.Random) -> str:
    return "nothing"


def _kill_shard(relay: Relay, rng: random.Random) -> str:
    return _strike(relay, [_any_shard(relay, rng)], signal.SIGKILL)


def _kill_shard_ten_times(relay: Relay, rng: random.Random) -> str:
    shard = _any_shard(relay, rng)
    deeds = []
    for _ in range(IN_A_ROW):
        time.sleep(rng.uniform(0, 0.3))  # any instant of the successor's life, its first ones too
        deeds.append(_strike(relay, [shard], signal.SIGKILL))
    return "; ".join(deeds)


def _kill_every_shard(relay: Relay, _rng: random.Random) -> str:
    shards = range(len(relay.stats().shards))
    return _strike(relay, shards, signal.SIGKILL)


def _hang_shard(relay: Relay, rng: random.Random) -> str:
    return _strike(relay, [_any_shard(relay, rng)], signal.SIGSTOP)


def _kill_supervisor(relay: Relay, rng: random.Random) -> str:
    relay.kill_supervisor()
    alone_s = rng.uniform(0, 1)
    time.sleep(alone_s)  # nobody is there but the shards
    return f"SIGKILL for the supervisor, alone for {1000 * alone_s:.0f} ms, {_start_again(relay)}"


def _upgrade(relay: Relay, _rng: random.Random) -> str:
    return f"nh upgrade: {relay.nh('upgrade')}"


def _more_shards(relay: Relay, rng: random.Random) -> str:
    return _resize(relay, rng, +1)


def _fewer_shards(relay: Relay, rng: random.Random) -> str:
    return _resize(relay, rng, -1)


def _resize(relay: Relay, rng: random.Random, by: int) -> str:
    """To another number of shards, then to as many as before."""
    before = len(relay.stats().shards)
    said = relay.nh("shards", str(before + by))
    time.sleep(rng.uniform(0, 0.5))
    return f"nh shards {before + by}: {said}; nh shards {before}: {relay.nh('shards', str(before))}"


def _take_over(relay: Relay, _rng: random.Random) -> str:
    before = relay.let_another_take_over()
    took_ms = (time.monotonic_ns() - relay.started_ns) / 1e6
    return f"another nh took over from pid {before}, ready after {took_ms:.0f} ms"


def _kill_all(relay: Relay, _rng: random.Random) -> str:
    relay.kill_everything()
    return _start_again(relay)


def _restart(relay: Relay, _rng: random.Random) -> str:
    status = relay.terminate()
    return f"SIGTERM, exit status {status}; {_start_again(relay)}"


_DEEDS: Final[Mapping[FaultKind, Callable[[Relay, random.Random], str]]] = {
    FaultKind.NONE: _nothing,
    FaultKind.KILL_SHARD: _kill_shard,
    FaultKind.KILL_SHARD_TEN_TIMES: _kill_shard_ten_times,
    FaultKind.KILL_EVERY_SHARD: _kill_every_shard,
    FaultKind.HANG_SHARD: _hang_shard,
    FaultKind.KILL_SUPERVISOR: _kill_supervisor,
    FaultKind.UPGRADE: _upgrade,
    FaultKind.MORE_SHARDS: _more_shards,
    FaultKind.FEWER_SHARDS: _fewer_shards,
    FaultKind.TAKEOVER: _take_over,
    FaultKind.KILL_ALL: _kill_all,
    FaultKind.RESTART: _restart,
}


def _any_shard(relay: Relay, rng: random.Random) -> int:
    return rng.randrange(len(relay.stats().shards))


def _strike(relay: Relay, shards: Sequence[int], signum: signal.Signals) -> str:
    """Send a signal to shards that are up, to all at once, and wait for their successors."""

    def are_up() -> bool:
        return all(relay.shard_pid(shard) not in (0, pid) for shard, pid in struck.items())

    struck = dict.fromkeys(shards, 0)
    named = ", ".join(map(str, shards))
    wait_for(are_up, f"shard {named} is up", relay.said_lately, BACK_S)
    struck = {shard: relay.shard_pid(shard) for shard in shards}
    for pid in struck.values():
        os.kill(pid, signum)
    wait_for(are_up, f"shard {named} has a successor", relay.said_lately, BACK_S)
    return f"{signum.name} for shard {named}, pid {', '.join(map(str, struck.values()))}"


def _start_again(relay: Relay) -> str:
    relay.start()
    relay.wait_until_ready()
    return f"started again, ready after {(time.monotonic_ns() - relay.started_ns) / 1e6:.0f} ms"
