"""Relays that speak ng, started for a test: nh, and Debian's rtpengine as the reference of it."""

import contextlib
import signal
from collections.abc import Iterator
from typing import NamedTuple

import psutil

from tests.ng.client import NgClient
from tests.sip.proxy import FAR, NEAR
from tools.harness import other_relays
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.relay import Relay, place_for_relay
from tools.harness.waiting import eventually

PORTS = 400

INTERFACES = (("near", NEAR), ("far", FAR), ("near", "::1"))
"""What a relay under test has: two named interfaces, the first with both families."""


class NgRelay(NamedTuple):
    """A running relay.

    Args:
        name: "nh" or "rtpengine".
        address: where it listens for ng, UDP and TCP.
        ports: its media ports.
        program: its process.
    """

    name: str
    address: tuple[str, int]
    ports: range
    program: Program


@contextlib.contextmanager
def running_nh(
    *, ports: int = PORTS, max_calls: int | None = None, shards: int = 2, **settings: object
) -> Iterator[NgRelay]:
    """`nh run --ng`, which ends well behind the test.

    Args:
        ports: number of media ports.
        max_calls: most calls; None: the default.
        shards: number of shards.
        settings: further fields of nh.config.Settings.
    """
    with claim_ports(1) as claimed, place_for_relay(ports) as place:
        environment = {f"NH_{name.upper()}": str(value) for name, value in settings.items()}
        environment["NH_NG"] = f"127.0.0.1:{claimed[0]}"
        environment["NH_INTERFACE"] = ",".join(f"{name}/{address}" for name, address in INTERFACES)
        if max_calls is not None:
            environment["NH_MAX_CALLS"] = str(max_calls)
        relay = Relay(place, shards, environment)
        with relay.program as program:
            relay.wait_until_ready()
            yield NgRelay("nh", ("127.0.0.1", claimed[0]), place.ports, program)
            status = program.wait() if program.ended else program.stop()
            assert status == 0, f"it did not end well; it said:\n{program.output}"


@contextlib.contextmanager
def running_rtpengine(*, ports: int = PORTS, max_calls: int | None = None) -> Iterator[NgRelay]:
    """Debian's rtpengine in user space, with no configuration file.

    Args:
        ports: number of media ports.
        max_calls: most calls; None: no limit.
    """
    with claim_ports(ports + 1) as claimed:
        media, port = claimed[:-1], claimed[-1]
        interfaces = [f"{name}/{address}" for name, address in INTERFACES]
        options = [f"--listen-tcp-ng=127.0.0.1:{port}", "--num-threads=2"]
        if max_calls is not None:
            options.append(f"--max-sessions={max_calls}")
        with other_relays.running_rtpengine(f"127.0.0.1:{port}", media, interfaces, *options) as program:
            yield NgRelay("rtpengine", ("127.0.0.1", port), media, program)


@contextlib.contextmanager
def running_ng_relay(name: str, *, ports: int = PORTS, max_calls: int | None = None) -> Iterator[NgRelay]:
    """Either of the two, by its name. See running_nh and running_rtpengine."""
    if name == "nh":
        small = max_calls is not None or ports < PORTS  # limits and ports are divided between shards
        with running_nh(ports=ports, max_calls=max_calls, shards=1 if small else 2) as relay:
            yield relay
    else:
        with running_rtpengine(ports=ports, max_calls=max_calls) as relay:
            yield relay


def drain(relay: NgRelay) -> None:
    """Have nh take no new calls, and end with the last one that it has."""
    psutil.Process(relay.program.pid).send_signal(signal.SIGUSR1)
    relay.program.wait_for_line("draining: new calls are refused")


def call_ids(relay: NgRelay) -> list[str]:
    """The call-ids that the relay knows."""
    with NgClient(relay.address) as client:
        return list(client.get("list", limit=1000)["calls"])


def wait_until_gone(relay: NgRelay, call_id: str) -> None:
    """Return once the relay does not know the call any more."""
    eventually(lambda: call_id not in call_ids(relay), f"no call {call_id}")
