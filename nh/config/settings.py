"""All settings, frozen: each is checked once, and what the processes of nh need is derived from them.

nh.config.table has their names and meanings; nh.config.sources says where they come from.
"""

import grp
import os
import shlex
import stat
from pathlib import Path
from urllib.parse import quote

from nh.address import RpcAddress, TcpAddress, parse_rpc_address
from nh.calls.interfaces import Interface
from nh.calls.settings import RelaySettings, in_range
from nh.commands import Feature
from nh.config.addresses import (
    HepAddress,
    check_device_name,
    check_distinct,
    check_notify_socket,
    check_records_target,
    check_store_prefix,
    check_store_url,
    check_url,
    is_ip,
    read_address,
    read_hep,
    tcp_addresses,
)
from nh.config.interfaces import check_interfaces, parse_address, parse_interface, parse_ports
from nh.config.table import ANY_CLIENT, LOOPBACK, NO_STATE, SettingsTable
from nh.errors import ConfigError
from nh.exposure import HTTP_EXPOSURE, NG_OVER_HTTP_EXPOSURE, RPC_EXPOSURE, Exposure, check_loopback
from nh.logs.settings import LogSettings, parse_areas

MAX_KERNEL_FLOWS = 2**22
"""Most directions in the kernel; their counters would take a gigabyte."""

SYSTEM_RUNTIME_PATH = Path("/run/nh")
"""The runtime directory of root, of nh.service and of the Debian package."""

MAX_STANDBY_FOR = 64
"""Most relays whose calls a standby follows."""

_BY_FEATURE = "FEATURE=warn, such as recording=warn,dtmf=warn"


class Settings(SettingsTable, frozen=True, kw_only=True):
    """All settings of `nh run`, and what follows from them.

    Raises:
        ValueError: a value is not accepted; the message begins with the name of the setting.
    """

    def __post_init__(self) -> None:
        RelaySettings.__post_init__(self)
        self._check_ranges()
        self._check_needs()
        self._check_paths()
        _ = (self.rpc_mode_bits, self.ng_lenient, self.log)
        served = {
            "rpc": [read_address("rpc", text) for text in self.rpc],
            "ng": self.ng_addresses,
            "rtpproxy": self.rtpproxy_addresses,
            "http": self.http_addresses,
        }
        check_distinct(served)
        if self.hep:
            _ = self.hep_target
        self._check_timeout_targets()
        for text in self.records:
            check_records_target("records", text)
        for text in self.kernel_interface:
            check_device_name("kernel_interface", text)
        check_interfaces(self.interfaces, self.port_range)

    def _check_ranges(self) -> None:
        in_range("shards", self.shards, 0, 256)
        if len(self.groups) > MAX_STANDBY_FOR:
            raise ValueError(f"standby_for: a relay follows the calls of {MAX_STANDBY_FOR} relays at most")
        in_range("command_timeout_s", self.command_timeout_s, 0.05, 60)
        in_range("prefork", self.prefork, 0, 1)
        in_range("hang_s", self.hang_s, 0, 60)
        if 0 < self.hang_s < 1:
            raise ValueError(
                f"hang_s: {self.hang_s:g} s is below 1 s; a shard shows life every 0.5 s (0: never)"
            )
        in_range("idle_client_s", self.idle_client_s, 1, 86_400)
        in_range("history", self.history, 0, 100_000)
        in_range("hep_id", self.hep_id, 0, 2**32 - 1)
        in_range("max_clients", self.max_clients, 1, 1_000_000)
        in_range("kernel_flows", self.kernel_flows, 0, MAX_KERNEL_FLOWS)

    def _check_needs(self) -> None:
        """Settings that have no effect without another one."""
        if self.rpc_group and not self.rpc_mode_bits & stat.S_IWGRP:
            raise ValueError(f"rpc_group: rpc_mode {self.rpc_mode} admits no group; set rpc_mode to 0660")
        for name in ("http_ng", "http_token_file"):
            if getattr(self, name) and not self.http:
                raise ValueError(f"{name}: needs an address to serve; say --http 127.0.0.1:8080")
        if self.http_private and not self.http_token_file:
            raise ValueError("http_private: needs a token; say --http-token-file FILE")
        for name in ("on_promote", "on_demote"):
            if getattr(self, name) and not self.groups:
                raise ValueError(f"{name}: needs a standby; say --standby, or --standby-for NAME")
            try:
                shlex.split(getattr(self, name))
            except ValueError as exc:
                raise ValueError(f"{name}: its words cannot be told apart: {exc}") from exc
        if self.hep_key_file and not self.hep:
            raise ValueError("hep_key_file: needs a Homer; say --hep HOST:PORT")

    def _check_paths(self) -> None:
        check_store_url("state", self.state)
        for name, path in (("runtime_dir", self.runtime_dir), ("state", self.state)):
            if "\0" in path:
                raise ValueError(f"{name}: {path[:80]!r} has a NUL character, which no path has")
            if path and "/" not in path and (name, path) != ("state", NO_STATE):
                raise ValueError(
                    f"{name}: {path!r} has no /, so it may be a mistyped word; a directory here is ./{path}"
                )
        for name in filter(None, self.groups):
            check_store_prefix("standby_for", name)

    def _check_timeout_targets(self) -> None:
        for url in self.timeout_url:
            check_url("timeout_url", url)
        if self.timeout_xmlrpc:
            url = self.timeout_xmlrpc
            check_url("timeout_xmlrpc", url.replace(ANY_CLIENT, LOOPBACK), given=url)
        for text in self.timeout_socket:
            check_notify_socket("timeout_socket", text)
        for text in self.timeout_address:
            if not is_ip(text):
                raise ValueError(f"timeout_address: {text!r} is not an IP address")

    @property
    def port_range(self) -> tuple[int, int]:
        """(lowest, highest) media port, both included."""
        return parse_ports(self.ports, "ports")

    @property
    def ng_addresses(self) -> tuple[TcpAddress, ...]:
        """`ng`, read."""
        return tcp_addresses("ng", self.ng, "127.0.0.1:2223")

    @property
    def http_addresses(self) -> tuple[TcpAddress, ...]:
        """`http`, read."""
        return tcp_addresses("http", self.http, "127.0.0.1:8080")

    @property
    def http_exposure(self) -> Exposure:
        """What it means to serve `http` on an address that other hosts reach."""
        return NG_OVER_HTTP_EXPOSURE if self.http_ng else HTTP_EXPOSURE

    @property
    def http_may_be_public(self) -> bool:
        """Whether `http` may be an address that other hosts reach."""
        return self.http_public and (self.rpc_public or not self.http_ng)

    @property
    def ng_lenient(self) -> frozenset[Feature]:
        """The features that `ng_unsupported` leaves out with a warning; a feature by its name goes first.

        Raises:
            ValueError: the setting has an unknown feature or word.
        """
        words = [word.strip().rpartition("=") for word in self.ng_unsupported.lower().split(",")]
        if any(verdict not in ("refuse", "warn") for _, _, verdict in words):
            raise ValueError(f"ng_unsupported: {self.ng_unsupported!r} is not refuse, warn or {_BY_FEATURE}")
        verdicts: dict[str, str] = {}
        for feature, _, verdict in sorted(words, key=lambda word: word[0] != ""):
            if feature and feature not in set(Feature):
                raise ValueError(
                    f"ng_unsupported: {feature!r} is no feature; the features are {', '.join(Feature)}"
                )
            verdicts |= {feature: verdict} if feature else dict.fromkeys(Feature, verdict)
        return frozenset(feature for feature in Feature if verdicts.get(feature) == "warn")

    @property
    def rtpproxy_addresses(self) -> tuple[RpcAddress, ...]:
        """`rtpproxy`, read; a path may have rtpproxy's own prefix `unix:`."""
        return tuple(read_address("rtpproxy", text.removeprefix("unix:")) for text in self.rtpproxy)

    @property
    def hep_target(self) -> HepAddress:
        """`hep`, read; it is set."""
        return read_hep("hep", self.hep)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """`address` and `interface`, read; the first one is where calls are that name none."""
        default = (parse_address(self.address),) if self.address else ()
        return (*default, *(parse_interface(text) for text in self.interface))

    @property
    def rpc_mode_bits(self) -> int:
        """`rpc_mode` as a number, 0 to 0o777.

        Raises:
            ValueError: the setting is not an octal mode.
        """
        try:
            bits = int(self.rpc_mode, 8)
        except ValueError:
            bits = -1
        if not 0 <= bits <= 0o777:
            raise ValueError(f"rpc_mode: {self.rpc_mode!r} is not an octal mode such as 0600")
        return bits

    @property
    def rpc_group_id(self) -> int | None:
        """The number of `rpc_group`; None if it is "".

        Raises:
            ConfigError: this host has no such group.
        """
        if not self.rpc_group or (self.rpc_group.isascii() and self.rpc_group.isdigit()):
            return int(self.rpc_group) if self.rpc_group else None
        try:
            return grp.getgrnam(self.rpc_group).gr_gid
        except KeyError as exc:
            raise ConfigError(
                f"rpc_group: this host has no group {self.rpc_group!r}; add it with groupadd"
            ) from exc

    @property
    def runtime_path(self) -> Path:
        """The runtime directory: as set, else default_runtime_path()."""
        return Path(self.runtime_dir) if self.runtime_dir else default_runtime_path()

    @property
    def state_path(self) -> Path | None:
        """The state directory, None if calls are not stored in one.

        As set (sqlite://DIRECTORY is the same as DIRECTORY), else /var/lib/nh for root, else nh under
        $XDG_STATE_HOME. A relay whose runtime directory is not the default one has a directory of its own in
        there, so that relays never share one.
        """
        if self.state == NO_STATE:
            return None
        if self.state:
            scheme, separator, location = self.state.rpartition("://")
            return Path(location) if scheme == "sqlite" or not separator else None
        runtime = self.runtime_path.absolute()
        default = _default_state_path()
        return default if runtime == default_runtime_path() else default / quote(str(runtime), safe="")

    @property
    def groups(self) -> tuple[str, ...]:
        """The prefixes of the stores that this relay is a standby for; "" is that of `state`."""
        named = tuple(name for text in self.standby_for for name in text.split(","))
        return named or (("",) if self.standby else ())

    @property
    def rpc_addresses(self) -> tuple[str, ...]:
        """`rpc`, or the default socket in the runtime directory."""
        return self.rpc or (str(self.runtime_path / "nh.sock"),)

    @property
    def log(self) -> LogSettings:
        """The part that all processes of nh need to log."""
        return LogSettings(self.log_level, parse_areas(self.log_areas), self.log_format)

    @property
    def relay(self) -> RelaySettings:
        """The part that shards need."""
        return RelaySettings(**{name: getattr(self, name) for name in RelaySettings.__struct_fields__})


def default_runtime_path() -> Path:
    """The runtime directory where none is set: SYSTEM_RUNTIME_PATH for root, else one of this user's own."""
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME_PATH
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "nh" if base else Path(f"/tmp/nh-{os.geteuid()}")


def _default_state_path() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/nh")
    base = os.environ.get("XDG_STATE_HOME", "")
    if Path(base).is_absolute():  # the standard wants any other ignored
        return Path(base) / "nh"
    try:
        return Path.home() / ".local/state/nh"
    except RuntimeError:  # a user without a home
        return Path("/var/lib/nh")


def check_served_addresses(settings: Settings) -> None:
    """Check the addresses that `nh run` is to serve; host names are resolved and checked at the start.

    Raises:
        ConfigError: other hosts reach an address, and rpc_public or http_public does not allow that.
    """
    for name, addresses, public, exposure in (
        ("rpc", [parse_rpc_address(text) for text in settings.rpc], settings.rpc_public, RPC_EXPOSURE),
        ("ng", settings.ng_addresses, settings.rpc_public, RPC_EXPOSURE),
        ("rtpproxy", settings.rtpproxy_addresses, settings.rpc_public, RPC_EXPOSURE),
        ("http", settings.http_addresses, settings.http_may_be_public, settings.http_exposure),
    ):
        for address in addresses:
            if not public and isinstance(address, TcpAddress) and is_ip(address.host):
                check_loopback(name, address, address.host, exposure)
