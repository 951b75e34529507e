"""All scenarios: what was promised, and how it is tried."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from nh.errors import NhError
from tools.harness import HarnessError
from tools.rtpload.errors import LoadFailed
from tools.survive.faults import FaultKind, Injected
from tools.survive.limits import BACK_AFTER_START_S, BUSY_HOST_S
from tools.survive.scenario import Outcome, play_while
from tools.systemd.trial import actions, checks
from tools.systemd.trial.actions import Action, Broken
from tools.systemd.trial.console import Seen
from tools.systemd.trial.unit import Unit

FAILURES: Final = (Broken, HarnessError, NhError, LoadFailed, TimeoutError, OSError)
"""What a scenario may end with that is no bug of the trial's."""

BACK: Final = f"{BACK_AFTER_START_S:g} s (allowed here: {BUSY_HOST_S:g} s more)"


class Fault(NamedTuple):
    """Something that is done to the unit while calls play.

    Args:
        name: of the scenario.
        promised: what docs/how-to/systemd.md or docs/reference/reliability.md say, in short.
        kind: whose promise counts for packets and gaps; see tools.survive.limits.
        action: see tools.systemd.trial.actions.
    """

    name: str
    promised: str
    kind: FaultKind
    action: Action


class Check(NamedTuple):
    """Something without media. See Fault. run: see tools.systemd.trial.checks; kernel: also in the kernel."""

    name: str
    promised: str
    run: Callable[[Unit], str]
    kernel: bool = False


class Scenario(NamedTuple):
    """A scenario on one path.

    Args:
        name: for people.
        promised: what nh promises.
        play: does it, with so many calls.
    """

    name: str
    promised: str
    play: Callable[[int], Seen]


FAULTS: Final = (
    Fault("kill-shard", "calls go on, no packet is lost", FaultKind.KILL_SHARD, actions.kill_shard),
    Fault("hang-shard", "calls go on, no packet is lost", FaultKind.HANG_SHARD, actions.hang_shard),
    Fault(
        "kill-supervisor",
        "another one 0.5 s later, calls go on, no packet is lost",
        FaultKind.KILL_SUPERVISOR,
        actions.kill_supervisor,
    ),
    Fault(
        "kill-supervisor-often",
        "however often",
        FaultKind.KILL_SUPERVISOR,
        actions.kill_supervisor_often,
    ),
    Fault(
        "hang-supervisor",
        "found within 15 s, journal says where it hung, calls go on, no packet is lost",
        FaultKind.KILL_SUPERVISOR,
        actions.hang_supervisor,
    ),
    Fault("reload", "the new version, same process, no packet is lost", FaultKind.UPGRADE, actions.reload),
    Fault(
        "reload-settings",
        "the new settings of the file, same process, no packet is lost",
        FaultKind.MORE_SHARDS,
        actions.reload_settings,
    ),
    Fault(
        "reload-nonsense",
        "systemctl reload fails, everything stays as it is",
        FaultKind.NONE,
        actions.reload_nonsense,
    ),
    Fault(
        "kill-while-reloading",
        "as kill-supervisor",
        FaultKind.KILL_SUPERVISOR,
        actions.kill_while_reloading,
    ),
    Fault("restart", f"calls come back, media {BACK} after the start", FaultKind.RESTART, actions.restart),
    Fault("stop-start", "the same; none of its processes stays", FaultKind.RESTART, actions.stop_and_start),
    Fault("kill-all", f"started again, media {BACK} after the start", FaultKind.KILL_ALL, actions.kill_all),
    Fault(
        "kill-stop-start",
        "shards with calls stay, the next start takes the calls over, no packet is lost",
        FaultKind.KILL_SUPERVISOR,
        actions.kill_stop_start,
    ),
    Fault("reexecute-systemd", "nothing happens", FaultKind.NONE, actions.reexecute_systemd),
)

CHECKS: Final = (
    Check("start", "active when every shard is up, confined", checks.start, kernel=True),
    Check(
        "start-without-capabilities",
        "active, in user space, with both lines emptied",
        checks.start_without_capabilities,
    ),
    Check("drain", "status 0 with the last call, not started again", checks.drain),
    Check("drain-by-signal", "the same", checks.drain_by_signal),
    Check("bad-setting", "status 2, not started again, systemctl status says which", checks.bad_setting),
    Check(
        "environment-at-reload",
        "/etc/default/nh is read by systemctl restart, not by reload",
        checks.environment_at_reload,
    ),
    Check("looks", "statistics: root and nh; calls: the group nh too", checks.looks),
    Check("stop-hung", "systemctl stop ends one that hangs", checks.stop_a_hung_one),
    Check("end-everything", "systemctl kill ends what kill -9 and stop left", checks.end_everything),
)

NAMES: Final = tuple(it.name for it in (*CHECKS, *FAULTS))


def scenarios(names: frozenset[str]) -> Iterator[Scenario]:
    """Those with these names, on the path in user space, then on the one in the kernel."""
    for kernel in (False, True):
        path = "kernel" if kernel else "user space"
        for check in CHECKS:
            if check.name in names and (check.kernel or not kernel):
                yield Scenario(f"{check.name}, {path}", check.promised, _run_check(check, kernel))
        for fault in FAULTS:
            if fault.name in names:
                yield Scenario(f"{fault.name}, {path}", fault.promised, _run_fault(fault, kernel))


def _run_check(check: Check, kernel: bool) -> Callable[[int], Seen]:
    def play(_calls: int) -> Seen:
        unit = Unit(kernel=kernel)
        try:
            return Seen(check.run(unit), [])
        except FAILURES as exc:
            return Seen("", [str(exc), *unit.last_output().splitlines()])
        finally:
            unit.wipe()

    return play


def _run_fault(fault: Fault, kernel: bool) -> Callable[[int], Seen]:
    def play(calls: int) -> Seen:
        unit = Unit(kernel=kernel)
        try:
            unit.begin()
            return _play(fault, unit, calls)
        except FAILURES as exc:
            return Seen("", [str(exc), *unit.last_output().splitlines()])
        finally:
            unit.wipe()

    return play


def _play(fault: Fault, unit: Unit, calls: int) -> Seen:
    seen: list[str] = []
    broken: list[str] = []

    def happen() -> Injected:
        began_ns = time.monotonic_ns()
        before_ns = unit.started_ns
        try:
            seen.append(fault.action(unit))
        except (Broken, HarnessError) as exc:
            broken.append(str(exc))
        started_ns = unit.started_ns
        again_ns = started_ns if started_ns != before_ns else 0
        return Injected(fault.kind, began_ns, time.monotonic_ns(), again_ns, fault.name)

    outcome = play_while(unit, happen, random.Random(), calls=calls)
    said = [*seen, outcome.cost, *_media_back(outcome)]
    return Seen("; ".join(said), [*broken, *outcome.failures])


def _media_back(outcome: Outcome) -> Iterator[str]:
    """Where a start interrupted the streams: when the last one went on."""
    started_ns = outcome.fault.started_ns
    gaps = [gap for record in outcome.report.streams for gap in record.gaps]
    ends_ns = [gap.began_ns + gap.length_ns for gap in gaps if gap.began_ns < started_ns]
    if outcome.fault.kind in (FaultKind.KILL_ALL, FaultKind.RESTART) and ends_ns:
        yield f"all streams went on {(max(ends_ns) - started_ns) / 1e6:.0f} ms after the start"
