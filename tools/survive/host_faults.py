"""Faults of hosts: each strikes the host that has the calls, and is over when media can flow again.

The address follows the calls: it goes to the other host as soon as that is ready.
"""

import concurrent.futures
import enum
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from nh.errors import StatsUnavailable
from tools.harness.deployment import has_ended
from tools.harness.hosts import LEASE_S, Host, Hosts, Link
from tools.harness.waiting import eventually
from tools.survive.faults import Injected

READY_S: Final = 60.0
ENDED_S: Final = 30.0
MIN_STOPPED_S: Final = 1.0
MAX_AWAY_S: Final = LEASE_S / 3
"""A server that is away for longer than the lease ends the relay."""


class HostFault(enum.StrEnum):
    """What can be done to a host, or to the server of the calls."""

    NOTHING = "nothing"
    KILL_HOST = "kill-host"
    STOP_HOST = "stop-host"
    CUT_SERVER = "cut-server"
    CUT_HOST = "cut-host"
    RESTART_SERVER = "restart-server"
    KILL_HOST_AND_SERVER = "kill-host-and-server"
    END_NH = "end-nh"
    MOVE = "move"


MOVES: Final = frozenset(HostFault) - {HostFault.NOTHING, HostFault.RESTART_SERVER}
"""Those that make the other host serve the calls."""


def strike(kind: HostFault, network: Hosts, one: Host, two: Host, rng: random.Random) -> Injected:
    """Let it happen, and return when media can flow again.

    Args:
        kind: the fault.
        network: both hosts.
        one: the host that has the calls and the address.
        two: the standby.
        rng: all chance.

    Raises:
        HarnessError: the other host never serves, or the one that lost the calls never ends.
    """
    began_ns = time.monotonic_ns()
    what = _ACTIONS[kind](network, one, two, rng)
    return Injected(kind, began_ns, time.monotonic_ns(), began_ns if kind in MOVES else 0, what)


def _nothing(_network: Hosts, _one: Host, _two: Host, _rng: random.Random) -> str:
    return "nothing"


def _kill_host(network: Hosts, one: Host, two: Host, _rng: random.Random) -> str:
    one.kill()
    return f"host {one.number} is dead, {_follow(network, two)}"


def _stop_host(network: Hosts, one: Host, two: Host, rng: random.Random) -> str:
    stopped_ns = time.monotonic_ns()
    processes = one.stop()
    followed = _follow(network, two)
    time.sleep(MIN_STOPPED_S + rng.uniform(0, 0.5))
    resumed_ns = time.monotonic_ns()
    one.resume(processes)
    eventually(lambda: all(map(has_ended, processes)), "the host that was stopped ends", ENDED_S)
    return (
        f"host {one.number} stopped for {_ms(resumed_ns - stopped_ns)}, {followed};"
        f" nh had ended {_ms(time.monotonic_ns() - resumed_ns)} after it went on"
    )


def _cut_server(network: Hosts, one: Host, two: Host, _rng: random.Random) -> str:
    one.cut(Link.STORE)
    return f"host {one.number} does not reach the server, {_follow(network, two)}"


def _cut_host(network: Hosts, one: Host, two: Host, _rng: random.Random) -> str:
    one.cut()
    followed = _follow(network, two)
    one.deployment.relay.program.wait(ENDED_S)
    one.restore()
    return f"host {one.number} reaches nothing, {followed}; it is back"


def _restart_server(network: Hosts, _one: Host, _two: Host, rng: random.Random) -> str:
    said = _empty_server(network, rng)
    eventually(network.stored, "the server has calls again", READY_S, poll_s=0.1)
    return said


def _kill_host_and_server(network: Hosts, one: Host, two: Host, rng: random.Random) -> str:
    one.kill()
    said = _empty_server(network, rng)
    return f"host {one.number} is dead, {said}, {_follow(network, two)}"


def _empty_server(network: Hosts, rng: random.Random) -> str:
    away_s = rng.uniform(0, MAX_AWAY_S)
    network.server.stop()
    time.sleep(away_s)
    with network.phones.entered():
        network.server.start()
    return f"the server was away for {1000 * away_s:.0f} ms, and has lost its data"


def _end_nh(network: Hosts, one: Host, two: Host, _rng: random.Random) -> str:
    status = one.deployment.stop()
    return f"SIGTERM on host {one.number}, exit status {status}, {_follow(network, two)}"


def _move(network: Hosts, one: Host, two: Host, _rng: random.Random) -> str:
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        moving = thread.submit(one.deployment.nh, "move", "--json")
        followed = _follow(network, two)
        return f"nh move on host {one.number}: {moving.result()}; {followed}"


_ACTIONS: Final[Mapping[HostFault, Callable[[Hosts, Host, Host, random.Random], str]]] = {
    HostFault.NOTHING: _nothing,
    HostFault.KILL_HOST: _kill_host,
    HostFault.STOP_HOST: _stop_host,
    HostFault.CUT_SERVER: _cut_server,
    HostFault.CUT_HOST: _cut_host,
    HostFault.RESTART_SERVER: _restart_server,
    HostFault.KILL_HOST_AND_SERVER: _kill_host_and_server,
    HostFault.END_NH: _end_nh,
    HostFault.MOVE: _move,
}


def _follow(network: Hosts, two: Host) -> str:
    """Move the address when the other host is ready; how long that took."""
    begun_ns = time.monotonic_ns()
    eventually(lambda: serves(two), "the standby serves", READY_S, details=two.deployment.last_output)
    network.move_address(two)
    return f"host {two.number} has the calls and the address after {_ms(time.monotonic_ns() - begun_ns)}"


def serves(host: Host) -> bool:
    """Whether the relay of a host executes commands."""
    try:
        return bool(host.deployment.stats().supervisor.serving)
    except StatsUnavailable:
        return False


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.0f} ms"
