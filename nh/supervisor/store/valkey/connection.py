"""A client of the server that a URL names, and the store's errors in place of the client's.

nh retries by itself (nh.supervisor.store.writer), so the client does not. All keys of a group are in one slot
of a cluster, so a client of the node that has this slot is enough. When the slot moves, or the node is lost,
that client fails; the next connect() finds the slot again. A node that let a request wait in vain is
remembered for a while: others are asked first, and a standby of several relays leaves its groups alone.
"""

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from valkey import Valkey
from valkey.backoff import NoBackoff
from valkey.crc import key_slot
from valkey.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    ValkeyError,
)
from valkey.retry import Retry
from valkey.sentinel import MasterNotFoundError, Sentinel

from nh.address import TcpAddress
from nh.errors import StoreUnavailable
from nh.printable import escaped
from nh.supervisor.store.engine import StoreRefused
from nh.supervisor.store.valkey.url import ValkeyTarget

CONNECT_S: Final = 1.0
"""How long a connection may take."""

REPLY_S: Final = 2.0
"""How long a reply may take."""

SILENT_S: Final = 5.0
"""So long a node of a cluster that has not answered in time comes last."""

MAX_PASSWORD_BYTES: Final = 4096
_MOST_TEXT: Final = 200

_NO_PASSWORD: Final = "the server wants a password; add password_file=PATH to the URL"

_SENTENCES: Final[tuple[tuple[type[Exception], str, type[StoreUnavailable], str], ...]] = (
    (AuthenticationError, "Authentication required", StoreRefused, _NO_PASSWORD),
    (ResponseError, "NOAUTH", StoreRefused, _NO_PASSWORD),
    (ResponseError, "Protocol error: unauthenticated", StoreRefused, _NO_PASSWORD),  # of a long command
    (AuthenticationError, "", StoreRefused, "the server refuses user and password ({}); correct them"),
    (NoPermissionError, "", StoreRefused, "the server's ACL refuses a command ({}); permit it"),
    (ResponseError, "DB index", StoreRefused, "the server has no such database ({}); choose another"),
    (MasterNotFoundError, "", StoreUnavailable, "no Sentinel that answers knows the primary ({})"),
    (
        ReadOnlyError,
        "",
        StoreUnavailable,
        "the server is a read-only replica, as after a failover; name the primary, or say ?sentinel=NAME",
    ),
    (OutOfMemoryError, "", StoreUnavailable, "the server's memory is full; raise its maxmemory"),
    (BusyLoadingError, "", StoreUnavailable, "the server is still loading its data"),
    (
        ResponseError,
        "This instance has cluster support disabled",
        StoreRefused,
        "the server is no cluster; a URL with valkey:// is for one server",
    ),
    (
        ResponseError,
        "MOVED",
        StoreUnavailable,
        "the calls are at another node of a cluster ({}), which a URL with valkey+cluster:// finds",
    ),
    (ConnectionError, "Error ", StoreUnavailable, "there is no connection to the server ({})"),
    (TimeoutError, "", StoreUnavailable, f"the server has not answered within {REPLY_S:g} s ({{}})"),
)
"""By the client's error and the beginning of its text: the store's error, and what it says."""


class SilentNodes:
    """The nodes of clusters that let a request wait in vain, for SILENT_S each. All threads use it."""

    def __init__(self) -> None:
        self._until: dict[TcpAddress, float] = {}

    def add(self, node: TcpAddress) -> None:
        """A node has not answered in time."""
        self._until[node] = time.monotonic() + SILENT_S

    def has(self, node: TcpAddress) -> bool:
        """Whether it has not answered lately."""
        return time.monotonic() < self._until.get(node, 0.0)

    def without(self, nodes: Sequence[TcpAddress]) -> list[TcpAddress]:
        """The nodes that are not silent, in their order."""
        return [node for node in nodes if not self.has(node)]

    def last(self, nodes: Sequence[TcpAddress]) -> list[TcpAddress]:
        """The nodes in their order, with those that have not answered lately behind the others."""
        return sorted(nodes, key=self.has)


silent_nodes: Final = SilentNodes()


def connect(target: ValkeyTarget, *, asks_silent: bool = True) -> Valkey:
    """A client; it connects with its first command.

    Args:
        target: the server.
        asks_silent: whether nodes of a cluster that have not answered lately are asked for the group's node.

    Raises:
        StoreRefused: a file with a password or a certificate cannot be read.
        StoreUnavailable: no node of the cluster answers, or none has the slot of the group now.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": REPLY_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "lib_name": None,  # no further round trips at the start of a connection
        "lib_version": None,
    }
    if target.tls:
        options |= {"ssl": True, "ssl_check_hostname": True}
        for option, path in (("ca_certs", target.ca), ("certfile", target.cert), ("keyfile", target.key)):
            if path:
                _check_readable(path)
                options[f"ssl_{option}"] = path
    account = {
        "username": target.user or None,
        "password": _secret(target.password_file) or target.password or None,
    }
    if not target.sentinel:
        host = target.hosts[0]  # the only one, but of a cluster
        if target.cluster:
            nodes = silent_nodes.last(target.hosts) if asks_silent else silent_nodes.without(target.hosts)
            host = _node(target, nodes, account | options)
        return Valkey(host=host.host, port=host.port, db=target.database, **account, **options)
    sentinel_account = {"password": _secret(target.sentinel_password_file) or None}
    sentinels = Sentinel(
        [(each.host, each.port) for each in target.hosts], sentinel_kwargs=sentinel_account | options
    )
    return sentinels.master_for(target.sentinel, db=target.database, **account, **options)


def _node(target: ValkeyTarget, nodes: Sequence[TcpAddress], options: Mapping[str, Any]) -> TcpAddress:
    """The node of a cluster that has the keys of the group now, by the first of `nodes` that answers.

    The client's own view of a cluster asks more: for a node that is away it waits once more.
    """
    why = (
        "no node of the cluster has the calls now"
        if nodes
        else f"no node answers; asked again in {SILENT_S:g} s"
    )
    failure = StoreUnavailable(f"{target.name}: {why}")
    for host in nodes:
        try:
            with failures(target.name), Valkey(host=host.host, port=host.port, **options) as client:
                sections = client.execute_command("CLUSTER SLOTS")
        except StoreRefused:
            raise
        except StoreUnavailable as exc:
            if _has_waited(exc):
                silent_nodes.add(host)
            failure = exc
            continue
        slot = key_slot(f"{{{target.prefix}}}".encode())
        for first, last, (address, port, *_), *_ in sections:
            if first <= slot <= last:
                return TcpAddress(_announced(address) or host.host, port)
    raise failure


def _announced(address: bytes | None) -> str:
    """The address that a node announces; "": it leaves that to its clients, which have reached it."""
    return "" if address in (None, b"?") else address.decode()


@contextlib.contextmanager
def unless_silent(target: ValkeyTarget, server: Valkey) -> Iterator[None]:
    """Ask a node of a cluster within the block, unless it has let a request wait in vain lately.

    Raises:
        StoreUnavailable: it has.
    """
    at = server.connection_pool.connection_kwargs
    node = TcpAddress(at["host"], at["port"])
    if silent_nodes.has(node):
        raise StoreUnavailable(
            f"{target.name}: the node {node} has not answered in time; it is asked again in {SILENT_S:g} s"
        )
    try:
        yield
    except StoreUnavailable as exc:
        if _has_waited(exc):
            silent_nodes.add(node)
        raise


def _has_waited(failure: BaseException | None) -> bool:
    while failure is not None:
        if isinstance(failure, TimeoutError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Turn errors of the client within the block into those of the engine.

    Args:
        name: of the store; begins each message.
    """
    try:
        yield
    except (ValkeyError, OSError) as exc:
        raise _failure(name, exc) from exc


def _failure(name: str, exc: Exception) -> StoreUnavailable:
    said = escaped(" ".join(str(exc).split()))[:_MOST_TEXT] or type(exc).__name__
    if "certificate required" in said.lower().replace("_", " "):
        return StoreRefused(
            f"{name}: TLS: {said}; the server wants a certificate: add cert=PATH and key=PATH to the URL"
        )
    if _is_certificate(exc):
        return StoreRefused(f"{name}: TLS: {said}; ca=PATH in the URL trusts the issuer of a certificate")
    for kind, beginning, error, sentence in _SENTENCES:
        if isinstance(exc, kind) and said.startswith(beginning):
            return error(f"{name}: {sentence.format(said)}")
    return StoreUnavailable(f"{name}: {said}")


def _is_certificate(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _secret(path: str) -> str:
    """The first line of a file; "" if there is no file to read."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_PASSWORD_BYTES).decode()
    except OSError as exc:
        raise StoreRefused(f"state: password file {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise StoreRefused(f"state: password file {path} is no text in UTF-8") from exc
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise StoreRefused(f"state: password file {path} is empty")
    return lines[0]


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as exc:
        raise StoreRefused(f"state: {path} cannot be read: {exc.strerror}") from exc
