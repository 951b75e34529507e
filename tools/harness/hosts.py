"""Hosts with relays, an address that moves between them, their phones, and a server of their calls.

    phones 10.77.0.1 ── bridge ─┬─ eth0 of host 0, 10.77.0.11 ─┐
                                └─ eth0 of host 1, 10.77.0.12 ─┴─ 10.77.0.9, wherever it is
    server 10.78.9.9 ───────────── eth1 of each host

Most tests have two hosts. Those of a pool have more, and a second address, 10.77.0.8.

Each is a network namespace; phones and server share one. Each link of a host can be cut by itself. Links are
cut at the far end, as if the cable were pulled: the host's own processes and addresses stay as they are.
"""

import contextlib
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import psutil

from nh.errors import StatsUnavailable
from tools.harness.call import RelayedCall
from tools.harness.deployment import Deployment
from tools.harness.namespaces import Namespace, namespaces
from tools.harness.relay import Relay, place_for_relay
from tools.harness.valkey_server import ValkeyServer, valkey_server
from tools.harness.waiting import eventually

PHONES: Final = "10.77.0.1"
VIRTUAL: Final = "10.77.0.9"
SECOND: Final = "10.77.0.8"
"""The address of another relay that serves, beside VIRTUAL."""

SERVER: Final = "10.78.9.9"
PORTS: Final = range(20_000, 22_000)
NG_PORT: Final = 2223
LEASE_S: Final = 3
PREFIX: Final = "pair"
WARM_S: Final = 60.0


class Link(enum.StrEnum):
    """The links of a host, by the names that its phones' namespace has for them."""

    MEDIA = "host"
    STORE = "store"


BOTH: Final = tuple(Link)


class Host:
    """One of the hosts.

    Args:
        number: from 0 on.
        namespace: its network.
        phones: the network of the phones, with the far ends of its links.
        relay: the runs of nh on it, none yet.

    Attributes:
        number, namespace: see above.
        address: its own address, beside the one that moves.
        deployment: the runs of nh on it.
    """

    def __init__(self, number: int, namespace: Namespace, phones: Namespace, relay: Deployment) -> None:
        self.number = number
        self.namespace = namespace
        self.address = f"10.77.0.{11 + number}"
        self.deployment = relay
        self._phones = phones
        phones.run(
            f"ip link add {Link.MEDIA}{number} type veth peer name eth0 netns {namespace.name}",
            f"ip link add {Link.STORE}{number} type veth peer name eth1 netns {namespace.name}",
            f"ip link set {Link.MEDIA}{number} master bridge",
        )
        self._connect(Link.MEDIA, Link.STORE)
        namespace.run(
            "ip link set eth0 up",
            "ip link set eth1 up",
            f"ip address add {self.address}/24 dev eth0",
            f"ip address add 10.78.{number}.2/24 dev eth1",
            f"ip route add {SERVER}/32 via 10.78.{number}.1",
            # addresses that are at the other host can be bound here, as the how-to says
            "sysctl -q net.ipv4.ip_nonlocal_bind=1",
        )
        for interface in ("eth0", "eth1"):
            namespace.wait_for_link(interface)

    def launch(self, **settings: object) -> Relay:
        """Start `nh run` on it and return at once.

        Args:
            settings: fields of nh.config.Settings for this run only.
        """
        with self.namespace.entered():
            return self.deployment.launch(shards=None, **settings)

    def start(self, **settings: object) -> Relay:
        """Start `nh run` on it and return when it is ready. See `launch`."""
        relay = self.launch(**settings)
        relay.wait_until_ready()
        return relay

    def start_standby(self) -> Relay:
        """Start `nh run` on it and return when it waits for the calls of the other host."""
        relay = self.launch(standby=True)
        relay.program.wait_for_line("waiting until it ends")
        return relay

    def wait_until_warm(self, calls: int) -> None:
        """Return when it is a standby that has so many calls of the other host."""

        def is_warm() -> bool:
            with contextlib.suppress(StatsUnavailable):
                return self.deployment.stats().supervisor.standby_calls == calls
            return False

        eventually(is_warm, f"{calls} calls are warm", WARM_S, details=self.deployment.last_output)

    def cut(self, *links: Link) -> None:
        """Nothing passes on these links; without any: on none of its links."""
        for link in links or BOTH:
            self._phones.run(f"ip link set {link}{self.number} down")

    def restore(self, *links: Link) -> None:
        """Undo `cut`."""
        self._connect(*(links or BOTH))

    def stop(self) -> list[psutil.Process]:
        """Send SIGSTOP to every process of nh, as if the host were a virtual machine that is paused."""
        processes = self.deployment.processes()
        for process in processes:
            process.suspend()
        return processes

    def resume(self, processes: Sequence[psutil.Process]) -> None:
        """Undo `stop`: shards first, so that they run for as long as they may."""
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):  # the supervisor has ended it
                process.resume()

    def kill(self) -> None:
        """Kill every process of nh, and pull every cable."""
        self.cut()
        self.deployment.kill_everything()

    @property
    def mac(self) -> str:
        """The address of its card."""
        return self.namespace.run("cat /sys/class/net/eth0/address").strip()

    def has_address(self, address: str = VIRTUAL) -> bool:
        """Whether an address that moves is at this host."""
        with self.namespace.entered():
            return any(each.address == address for each in psutil.net_if_addrs()["eth0"])

    def _connect(self, *links: Link) -> None:
        for link in links:
            name = f"{link}{self.number}"
            self._phones.run(f"ip link set {name} up")
            if link is Link.STORE:  # a link that goes down takes its routes along
                self._phones.run(f"ip address replace 10.78.{self.number}.1/24 dev {name}")


class Hosts:
    """See the module.

    Attributes:
        phones: the network of phones and server.
        hosts: all hosts.
        server: the server of their calls.
    """

    def __init__(self, phones: Namespace, hosts: tuple[Host, ...], server: ValkeyServer) -> None:
        self.phones = phones
        self.hosts = hosts
        self.server = server

    def move_address(self, to: Host) -> None:
        """Give the virtual address to a host, as an operator's program does, and tell the phones (ARP).

        The other hosts are told nothing: they may be dead.
        """
        to.namespace.run(f"ip address replace {VIRTUAL}/32 dev eth0")
        self.phones.run(f"ip neigh replace {VIRTUAL} lladdr {to.mac} dev bridge nud permanent")

    def make_call(self, by: Host, call_id: str, address: str = VIRTUAL) -> RelayedCall:
        """Set up a call at a host's relay, whose media go to an address that moves."""
        with self.phones.entered():
            return RelayedCall(by.deployment.address, call_id.encode(), phones=PHONES, media=address)

    def expire_lease(self, prefix: str = PREFIX) -> None:
        """Let the lease of the calls end at once, as the server sees it."""
        with self.phones.entered():
            self.server.client().hset(f"{{{prefix}}}:group", "until", 0)

    def stored(self, prefix: str = PREFIX) -> set[bytes]:
        """The call-ids that the server has."""
        with self.phones.entered():
            return set(self.server.client().hkeys(f"{{{prefix}}}:calls"))

    def url(self, prefix: str = PREFIX, lease_s: int = LEASE_S) -> str:
        """The setting `state` of a relay with this prefix."""
        return f"{self.server.url}/0?prefix={prefix}&lease={lease_s}"


@contextlib.contextmanager
def some_hosts(
    count: int = 2,
    *,
    shards: int = 1,
    ports: range = PORTS,
    nice: int = 0,
    lease_s: float = LEASE_S,
    **settings: object,
) -> Iterator[Hosts]:
    """Hosts without a relay yet. Behind the context all that ran there has ended.

    Args:
        count: how many.
        shards: of each relay.
        ports: the media ports of each.
        nice: the priority of the relays, where this process may raise it.
        lease_s: how long calls belong to a relay after its last sign of life, seconds.
        settings: further fields of nh.config.Settings for all relays.

    Raises:
        HarnessError: network namespaces cannot be made here.
    """
    with namespaces(1 + count) as (phones, *inside), contextlib.ExitStack() as stack:
        phones.run(
            "ip link add bridge type bridge",
            "ip link set bridge up",
            f"ip address add {PHONES}/24 dev bridge",
            f"ip address add {SERVER}/32 dev lo",
        )
        with phones.entered():
            server = stack.enter_context(valkey_server({"protected-mode": "no"}, host=SERVER))
        url = f"{server.url}/0?prefix={PREFIX}&lease={lease_s}"
        defaults: Mapping[str, object] = {
            "address": VIRTUAL,
            "ng": f"{VIRTUAL}:{NG_PORT}",
            "rpc_public": True,
            "state": url,
            "state_away": "end",
        }
        hosts = []
        for number, namespace in enumerate(inside):
            place = stack.enter_context(place_for_relay(ports))
            relay = Deployment(place, {**defaults, **settings}, shards=shards, nice=nice)
            stack.enter_context(contextlib.closing(relay))
            hosts.append(Host(number, namespace, phones, relay))
        yield Hosts(phones, tuple(hosts), server)
