"""What a start of nh needs of this host, checked without a start: nothing is made, kept or attached.

`nh run --check`, the check before an upgrade or a takeover and `nh doctor` use it; the start makes the same
checks as it takes each resource. An nh that runs with the same runtime directory has its lock and sockets, so
these are not tried then.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nh.address import RpcAddress, TcpAddress, UnixAddress
from nh.config import Settings
from nh.config.addresses import check_distinct, one_has_all
from nh.config.sources import plain_settings
from nh.config.table import KernelMode
from nh.errors import ConfigError, NotNow
from nh.rpc.listeners import check_listeners, resolved
from nh.rpc.protocols import PROTOCOLS
from nh.rpc.unix_sockets import check_group
from nh.stats import own_segment, segment_name
from nh.supervisor.host.addresses import check_addresses
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.host.locked_dir import RUNTIME_DIR, STATE_DIR, check_dir
from nh.supervisor.host.port_claim import port_claim
from nh.supervisor.host.port_slices import interface_slices, port_slices
from nh.supervisor.host.secret_file import read_secret
from nh.supervisor.http import check_http
from nh.supervisor.running_nh import RunningNh
from nh.supervisor.settings_in_force import InForce
from nh.supervisor.store.open import StateKey, check_server, check_store, state_key

_SERVED: Final = ("rpc", "ng", "rtpproxy", "http")
"""The settings that say where nh serves clients."""


def check_host(settings: Settings, running: RunningNh | None) -> None:
    """Check all that a start with these settings needs.

    Args:
        settings: of the start.
        running: the nh that runs with their runtime directory.

    Raises:
        ConfigError: a setting cannot be used.
        NotNow: what a setting names is in use, or is not on this host now.
    """
    for check in CHECKS.values():
        check(settings, running)


def _shards_of(settings: Settings) -> int:
    """How many shards a start makes: one for each CPU where the settings name no number."""
    return settings.shards or len(usable_cpus())


def _check_shards(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    shards = _shards_of(settings)
    port_slices(*settings.port_range, shards)
    interface_slices(settings.interfaces, shards)


def _check_runtime_dir(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    check_dir(settings.runtime_path, RUNTIME_DIR, named=bool(settings.runtime_dir))


def _check_state(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    check_store(settings)
    # a default directory that cannot be used is no reason not to start
    if settings.state and settings.state_path is not None:
        check_dir(settings.state_path, STATE_DIR, named=True)


def _check_addresses(settings: Settings, running: RunningNh | None) -> None:
    check_addresses(settings, takes_over=running is not None)


def _check_ports(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    with port_claim(settings):
        pass


def _check_rpc(settings: Settings, running: RunningNh | None) -> None:
    if settings.rpc_group_id is not None:
        check_group(settings.rpc_group_id)
    _check_distinct(settings)
    had, own = _had_by_running(running), settings.runtime_path
    for protocol in PROTOCOLS:
        addresses = protocol.addresses(settings)
        check_listeners(protocol, addresses, public=settings.rpc_public, had=had, made_later=own)


def _check_distinct(settings: Settings) -> None:
    """Check that no host name leads to an address that nh is to listen at already."""
    served = {protocol.name: protocol.addresses(settings) for protocol in PROTOCOLS}
    served["http"] = settings.http_addresses
    try:
        check_distinct({name: [resolved(name, each) for each in served[name]] for name in served})
    except ValueError as exc:  # what another program's use of the port is at the start, too
        raise NotNow(str(exc)) from exc


def _check_http(settings: Settings, running: RunningNh | None) -> None:
    check_http(settings, had=_had_by_running(running))


def _had_by_running(running: RunningNh | None) -> Callable[[RpcAddress], bool]:
    """Whether the nh that runs may listen at an address.

    What it has at all addresses of the host, or by a name, may exclude another address of that port, and will
    be free when it yields. It may have any port if it tells no addresses, or took a port that was free.
    """
    if running is None:
        return lambda _: False
    served = _served(running.in_force)

    def had(address: RpcAddress) -> bool:
        if isinstance(address, UnixAddress):  # another container may call its directory otherwise
            return True
        return served is None or any(_may_exclude(each, address) for each in served)

    return had


def _may_exclude(served: TcpAddress, address: TcpAddress) -> bool:
    if served.port != address.port:
        return served.port == 0
    one, other = served.ip, address.ip
    return one is None or other is None or one == other or one_has_all(served, address)


def _served(told: InForce | None) -> list[TcpAddress] | None:
    """Where the nh that runs serves clients, as its settings have it; None: it tells no addresses."""
    if told is None:
        return None
    try:
        running = msgspec.convert({name: told.settings[name] for name in _SERVED}, Settings)
    except (KeyError, msgspec.ValidationError):  # of another release
        return None
    served = [address for protocol in PROTOCOLS for address in protocol.addresses(running)]
    return [each for each in [*served, *running.http_addresses] if isinstance(each, TcpAddress)]


def _check_kernel(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    if settings.kernel is not KernelMode.ON:
        return
    from nh.fastpath.netlink.interfaces import find_obstacle  # noqa: PLC0415  few need them
    from nh.fastpath.probe import Availability, probe  # noqa: PLC0415

    availability, why = probe()
    if availability is not Availability.UNAVAILABLE:
        why = find_obstacle(settings.kernel_interface)
    if why:
        raise NotNow(f"kernel: media cannot be relayed inside the kernel: {why}; or use --kernel auto")


def _check_hep(settings: Settings, running: RunningNh | None) -> None:  # noqa: ARG001
    if settings.hep_key_file:
        _ = read_secret("hep_key_file", Path(settings.hep_key_file))


def check_takeover(settings: Settings, running: RunningNh, key: StateKey | None = None) -> None:
    """Check what a start needs that makes a running nh end: nothing else than a success helps it then.

    Args:
        settings: of the start.
        running: the nh that runs.
        key: of its store; None: it is read now.

    Raises:
        ConfigError: a setting cannot be used, the server of the store refuses this relay, or its calls are
            encrypted with another key.
        NotNow: the server is away, and the settings want no start without it.
        StatsUnavailable: there is no room for statistics beside those of the other nh.
    """
    check_server(settings)
    _check_state_key(settings, running.in_force, key or state_key(settings))
    shards = _shards_of(settings)
    name = f"{segment_name(settings.runtime_path)}-{os.getpid()}"
    with own_segment(name, shards, len(settings.groups)):
        pass


def _check_state_key(settings: Settings, running: InForce | None, key: StateKey) -> None:
    """Check whether this start opens the calls of the nh that runs with the runtime directory."""
    if running is None or not running.state_key:
        return
    if running.settings.get("state") != plain_settings(settings)["state"]:  # it opens other calls
        return
    if key.check != running.state_key:
        raise ConfigError(
            "state_key_file: the nh that runs encrypts its calls with another key, which the next one needs"
        )


Check = Callable[[Settings, RunningNh | None], None]
"""(settings, the nh that runs with their runtime directory): raises ConfigError or NotNow."""

CHECKS: Final[Mapping[str, Check]] = {
    "shards": _check_shards,
    "runtime_dir": _check_runtime_dir,
    "state": _check_state,
    "address": _check_addresses,
    "ports": _check_ports,
    "rpc": _check_rpc,
    "http": _check_http,
    "hep": _check_hep,
    "kernel": _check_kernel,
}
"""The checks by the setting that they are about, in the order of the start."""
