"""What faults strike: one relay, or two hosts of which one has the calls and the other follows them."""

import contextlib
import random
from collections.abc import Sequence
from typing import Protocol

from tools.harness.deployment import Deployment
from tools.harness.hosts import Hosts
from tools.rtpload.options import LoadOptions
from tools.survive.faults import FaultKind, Injected, inject
from tools.survive.host_faults import MOVES, HostFault, strike
from tools.survive.host_scenario import host_load
from tools.survive.scenario import load_options

Kind = FaultKind | HostFault


class Subject(Protocol):
    """What faults strike."""

    @property
    def relays(self) -> Sequence[Deployment]:
        """All relays; the first one has the calls now."""

    def start(self) -> None:
        """Start it, and return when it is ready. Raises HarnessError."""

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """The network of the phones, for this thread."""

    def load(self, *, calls: int, seed: int) -> LoadOptions:
        """The load that it gets."""

    def strike(self, kind: Kind, rng: random.Random) -> Injected:
        """Let a fault strike, and return when the next one may. Raises HarnessError."""


class OneRelay:
    """One relay. See Subject."""

    def __init__(self, relay: Deployment) -> None:
        self._relay = relay

    @property
    def relays(self) -> Sequence[Deployment]:
        """See Subject."""
        return [self._relay]

    def start(self) -> None:
        """See Subject."""
        self._relay.start()

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """See Subject."""
        return contextlib.nullcontext()

    def load(self, *, calls: int, seed: int) -> LoadOptions:
        """See Subject."""
        return load_options(self._relay.address, calls=calls, seed=seed)

    def strike(self, kind: Kind, rng: random.Random) -> Injected:
        """See Subject."""
        assert isinstance(kind, FaultKind)
        return inject(kind, self._relay, rng)


class TwoHosts:
    """Two hosts, which change their parts with each fault that moves the calls. See Subject."""

    def __init__(self, network: Hosts) -> None:
        self._network = network
        self._active, self._standby = network.hosts

    @property
    def relays(self) -> Sequence[Deployment]:
        """See Subject."""
        return [self._active.deployment, self._standby.deployment]

    def start(self) -> None:
        """See Subject."""
        self._network.move_address(self._active)
        self._active.start()
        self._standby.start_standby()

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """See Subject."""
        return self._network.phones.entered()

    def load(self, *, calls: int, seed: int) -> LoadOptions:
        """See Subject."""
        return host_load(calls, seed)

    def strike(self, kind: Kind, rng: random.Random) -> Injected:
        """See Subject. The host that lost the calls is a standby afterwards."""
        assert isinstance(kind, HostFault)
        fault = strike(kind, self._network, self._active, self._standby, rng)
        if kind in MOVES:
            self._active, self._standby = self._standby, self._active
            self._standby.restore()
            self._standby.deployment.kill_everything()
            self._standby.start_standby()
        return fault
