"""A client of the server that a URL names. It does not retry: nh.supervisor.store.writer does."""

from pathlib import Path
from typing import Any, Final

from valkey import Valkey
from valkey.backoff import NoBackoff
from valkey.retry import Retry
from valkey.sentinel import Sentinel

from nh.errors import ConfigError
from nh.supervisor.host.secret_file import MAX_SECRET_BYTES, read_private
from nh.supervisor.store.engine import StoreRefused
from nh.supervisor.store.valkey.cluster import find_node
from nh.supervisor.store.valkey.failures import REPLY_S
from nh.supervisor.store.valkey.url import ValkeyTarget

CONNECT_S: Final = 1.0
"""How long a connection may take."""


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
        named = target.hosts[0]  # the only one, but of a cluster
        host = find_node(target, account | options, asks_silent=asks_silent) if target.cluster else named
        return Valkey(host=host.host, port=host.port, db=target.database, **account, **options)
    sentinel_account = {"password": _secret(target.sentinel_password_file) or None}
    sentinels = Sentinel(
        [(each.host, each.port) for each in target.hosts], sentinel_kwargs=sentinel_account | options
    )
    return sentinels.master_for(target.sentinel, db=target.database, **account, **options)


def _secret(path: str) -> str:
    """The first line of a file that no other user may read; "" if there is no file to read."""
    if not path:
        return ""
    try:
        text = read_private("state", Path(path))[:MAX_SECRET_BYTES].decode()
    except ConfigError as exc:
        raise StoreRefused(str(exc)) from exc
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
