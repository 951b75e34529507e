"""Faults of a relay: each is injected, and is over when all shards of the relay are up again.

All randomness comes from the caller's generator: the same seed injects the same fault into the same shards.
"""

import enum
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually

BACK_S: Final = 20.0
"""How long to wait for a successor; what it should take is a promise, not this."""

IN_A_ROW: Final = 10
POLL_S: Final = 0.005


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
    BROKEN_TAKEOVER = "broken-takeover"
    KILL_ALL = "kill-all"
    RESTART = "restart"


class Injected(NamedTuple):
    """A fault that is over.

    Args:
        kind: which.
        began_ns, over_ns: of the monotonic clock; over: every shard was up again.
        started_ns: when nh was started anew, or the other host had to begin; 0 where neither was.
        what: in words, what it was done to.
    """

    kind: enum.StrEnum
    began_ns: int
    over_ns: int
    started_ns: int
    what: str

    def __str__(self) -> str:
        took_ms = (self.over_ns - self.began_ns) / 1e6
        return f"{self.kind}: {self.what}; whole again after {took_ms:.0f} ms"


def inject(kind: FaultKind, deployment: Deployment, rng: random.Random) -> Injected:
    """Let it happen, and wait until the relay is whole again. Raises HarnessError if it never is."""
    began_ns = time.monotonic_ns()
    before = deployment.relay
    what = _ACTIONS[kind](deployment, rng)
    started_ns = deployment.relay.started_ns if deployment.relay is not before else 0
    return Injected(kind, began_ns, time.monotonic_ns(), started_ns, what)


def _nothing(_deployment: Deployment, _rng: random.Random) -> str:
    return "nothing"


def _kill_shard(deployment: Deployment, rng: random.Random) -> str:
    return _strike(deployment, [_any_shard(deployment, rng)], signal.SIGKILL)


def _kill_shard_ten_times(deployment: Deployment, rng: random.Random) -> str:
    shard = _any_shard(deployment, rng)
    struck = []
    for _ in range(IN_A_ROW):
        time.sleep(rng.uniform(0, 0.3))  # any instant of the successor's life, its first ones too
        struck.append(_strike(deployment, [shard], signal.SIGKILL))
    return "; ".join(struck)


def _kill_every_shard(deployment: Deployment, _rng: random.Random) -> str:
    shards = range(len(deployment.stats().shards))
    return _strike(deployment, shards, signal.SIGKILL)


def _hang_shard(deployment: Deployment, rng: random.Random) -> str:
    return _strike(deployment, [_any_shard(deployment, rng)], signal.SIGSTOP)


def _kill_supervisor(deployment: Deployment, rng: random.Random) -> str:
    deployment.kill_supervisor()
    alone_s = rng.uniform(0, 1)
    time.sleep(alone_s)  # only the shards run
    return f"SIGKILL for the supervisor, alone for {1000 * alone_s:.0f} ms, {_start_again(deployment)}"


def _upgrade(deployment: Deployment, _rng: random.Random) -> str:
    return f"nh upgrade: {deployment.nh('upgrade')}"


def _more_shards(deployment: Deployment, rng: random.Random) -> str:
    return _resize(deployment, rng, +1)


def _fewer_shards(deployment: Deployment, rng: random.Random) -> str:
    return _resize(deployment, rng, -1)


def _resize(deployment: Deployment, rng: random.Random, by: int) -> str:
    """To another number of shards, then to as many as before."""
    before = len(deployment.stats().shards)
    said = deployment.nh("shards", str(before + by))
    time.sleep(rng.uniform(0, 0.5))
    return f"nh shards {before + by}: {said}; nh shards {before}: {deployment.nh('shards', str(before))}"


def _take_over(deployment: Deployment, _rng: random.Random) -> str:
    before = deployment.take_over()
    took_ms = (time.monotonic_ns() - deployment.relay.started_ns) / 1e6
    return f"another nh took over from pid {before}, ready after {took_ms:.0f} ms"


def _break_takeover(deployment: Deployment, rng: random.Random) -> str:
    after_s = rng.uniform(0, 0.25)
    goes_on = deployment.break_takeover(after_s)
    who = "the run before goes on" if goes_on else "it had taken over, and nh was started again"
    return f"SIGKILL for another nh, {1000 * after_s:.0f} ms after it began to take over; {who}"


def _kill_all(deployment: Deployment, _rng: random.Random) -> str:
    deployment.kill_everything()
    return _start_again(deployment)


def _restart(deployment: Deployment, _rng: random.Random) -> str:
    status = deployment.stop()
    return f"SIGTERM, exit status {status}; {_start_again(deployment)}"


_ACTIONS: Final[Mapping[FaultKind, Callable[[Deployment, random.Random], str]]] = {
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
    FaultKind.BROKEN_TAKEOVER: _break_takeover,
    FaultKind.KILL_ALL: _kill_all,
    FaultKind.RESTART: _restart,
}


def _any_shard(deployment: Deployment, rng: random.Random) -> int:
    return rng.randrange(len(deployment.stats().shards))


def _strike(deployment: Deployment, shards: Sequence[int], signum: signal.Signals) -> str:
    """Send a signal to shards that are up, to all at once, and wait for their successors."""

    def are_up() -> bool:
        return all(deployment.relay.shard_pid(shard) not in (0, pid) for shard, pid in struck.items())

    struck = dict.fromkeys(shards, 0)
    named = ", ".join(map(str, shards))
    eventually(are_up, f"shard {named} is up", BACK_S, poll_s=POLL_S, details=deployment.last_output)
    struck = {shard: deployment.relay.shard_pid(shard) for shard in shards}
    for pid in struck.values():
        os.kill(pid, signum)
    eventually(
        are_up, f"shard {named} has a successor", BACK_S, poll_s=POLL_S, details=deployment.last_output
    )
    return f"{signum.name} for shard {named}, pid {', '.join(map(str, struck.values()))}"


def _start_again(deployment: Deployment) -> str:
    deployment.start()
    return f"started again, ready after {(time.monotonic_ns() - deployment.relay.started_ns) / 1e6:.0f} ms"
