"""The URL of a store on a Valkey or Redis server or cluster, read and checked; no error has its password."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from nh.address import TcpAddress
from nh.config.addresses import check_store_prefix
from nh.errors import ConfigError

_OVER_TLS: Final = ("valkeys", "rediss")
"""As IANA's registry and the clients have it."""

_CLUSTER: Final = "+cluster"

_SERVERS: Final = ("valkey", "redis", *_OVER_TLS)

SCHEMES: Final = (*_SERVERS, *(f"{scheme}{_CLUSTER}" for scheme in _SERVERS))
"""Of one server or its Sentinels, and of a cluster."""

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
DEFAULT_PREFIX: Final = "nh"
DEFAULT_LEASE_S: Final = 5.0
EXAMPLE: Final = "valkey://HOST:6379/0?prefix=NAME"

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?")
_OPTIONS: Final = frozenset(
    {"prefix", "password_file", "sentinel", "sentinel_password_file", "ca", "cert", "key", "lease"}
)


class ValkeyTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a URL says.

    Attributes:
        hosts: the server; with `sentinel`, the Sentinels; of a cluster, some of its nodes.
        database: its number, 0 to 65535.
        cluster: whether the hosts are nodes of a cluster.
        tls: whether the connections are over TLS.
        user: of the server's ACL; "": the default user.
        password: as the URL has it; "": none.
        password_file: the file with the password, read for each connection; "": none.
        prefix: begins every key. Relays with different prefixes know nothing of each other.
        sentinel: the name under which the Sentinels know the primary; "": `hosts` is the server.
        sentinel_password_file: the file with the Sentinels' password; "": they have none.
        ca: file with the certificates that are trusted; "": those of the system.
        cert, key: files with nh's own certificate and its key; "": none.
        lease_s: how long the group of calls is this relay's after its last sign of life, 1 to 60.
    """

    hosts: tuple[TcpAddress, ...]
    database: int = 0
    cluster: bool = False
    tls: bool = False
    user: str = ""
    password: str = ""
    password_file: str = ""
    prefix: str = DEFAULT_PREFIX
    sentinel: str = ""
    sentinel_password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    lease_s: float = DEFAULT_LEASE_S

    def __repr__(self) -> str:
        """Without the password."""
        return f"ValkeyTarget({self.name})"

    def group_key(self, name: str) -> str:
        """A key of the group. The braces put all of them into one slot of a cluster."""
        return f"{{{self.prefix}}}:{name}"

    @property
    def name(self) -> str:
        """The store for log lines: server, database and prefix, without user and password."""
        hosts = ",".join(map(str, self.hosts))
        of = f" (primary of {self.sentinel})" if self.sentinel else ""
        scheme = f"valkey{'s' * self.tls}{_CLUSTER * self.cluster}"
        return f"{scheme}://{hosts}/{self.database}?prefix={self.prefix}{of}"


def parse_url(scheme: str, location: str) -> ValkeyTarget:
    """Read a URL.

    Args:
        scheme: one of SCHEMES.
        location: what follows `://`.

    Raises:
        ConfigError: it cannot be used; the message says why, and never has the user part.
    """
    authority, slash, rest = location.partition("/")
    if not slash:  # a password may have a question mark, so it ends nothing where a slash does
        authority, question_mark, query = authority.partition("?")
        rest = question_mark + query
    path, _, query = rest.partition("?")
    if "@" in rest or "#" in location:
        raise ConfigError("state: a URL has @, / and # of a password as %40, %2F and %23")
    account, _, hosts = authority.rpartition("@")
    user, _, password = account.partition(":")
    options = _options(query)
    sentinel = options.get("sentinel", "")
    default_port = SENTINEL_PORT if sentinel else PORT
    addresses = tuple(_host(text, default_port) for text in hosts.split(","))
    server, _, _ = scheme.partition(_CLUSTER)
    cluster = scheme != server
    if cluster and sentinel:
        raise ConfigError("state: a cluster has no Sentinels; leave sentinel=NAME out")
    if len(addresses) > 1 and not sentinel and not cluster:
        raise ConfigError(
            "state: several hosts are Sentinels: say ?sentinel=NAME, the name of the primary; or nodes of a"
            f" cluster: say {scheme}{_CLUSTER}://"
        )
    return ValkeyTarget(
        hosts=addresses,
        database=_database(path, cluster=cluster),
        cluster=cluster,
        tls=server in _OVER_TLS,
        user=unquote(user),
        password=unquote(password),
        password_file=options.get("password_file", ""),
        prefix=_prefix(options.get("prefix", DEFAULT_PREFIX)),
        sentinel=sentinel,
        sentinel_password_file=options.get("sentinel_password_file", ""),
        ca=options.get("ca", ""),
        cert=options.get("cert", ""),
        key=options.get("key", ""),
        lease_s=_lease(options.get("lease", "")),
    )


def _options(query: str) -> Mapping[str, str]:
    named = parse_qsl(query, keep_blank_values=True)
    options = dict(named)
    for name, value in options.items():
        if name not in _OPTIONS:
            raise ConfigError(
                f"state: {name[:80]!r} is no option of the URL; say one of {', '.join(sorted(_OPTIONS))}"
            )
        if not value:
            raise ConfigError(f"state: option {name} of the URL has no value")
    if len(named) > len(options):
        again = next(name for name in options if [each for each, _ in named].count(name) > 1)
        raise ConfigError(f"state: the URL has the option {again} more than once; say it once")
    return options


def _host(text: str, default_port: int) -> TcpAddress:
    found = _HOST.fullmatch(text)
    port = int(found[3] or default_port) if found else 0
    if not found or not 0 < port <= 65535:
        raise ConfigError(f"state: the host or the port of the URL cannot be read; a URL is {EXAMPLE}")
    return TcpAddress(found[1] or found[2], port)


def _database(text: str, *, cluster: bool) -> int:
    if text and not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ConfigError(f"state: database {text[:80]!r} is not a number; a URL is {EXAMPLE}")
    if cluster and int(text or 0):
        raise ConfigError("state: a cluster has database 0 only")
    return int(text or 0)


def _prefix(text: str) -> str:
    try:
        check_store_prefix("state", text)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc
    return text


def _lease(text: str) -> float:
    try:
        lease_s = float(text or DEFAULT_LEASE_S)
    except ValueError:
        lease_s = 0.0
    if not 1 <= lease_s <= 60:
        raise ConfigError(f"state: lease {text[:80]!r} is not 1 to 60 seconds")
    return lease_s
