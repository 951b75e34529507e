"""A client of the server that a URL names. It does not retry: nh.supervisor.store.writer does."""

import ssl
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
        StoreRefused: a file with a password, a certificate or a key cannot be read, or is none.
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
        _check_certificates(target)
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


def _check_certificates(target: ValkeyTarget) -> None:
    """Tell a file that is no certificate or key from a server that does not answer. Raises StoreRefused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if target.ca:
        try:
            context.load_verify_locations(target.ca)
        except ssl.SSLError as exc:
            raise StoreRefused(f"state: {target.ca} has no certificate; ca=PATH is a file in PEM") from exc
    if target.key and not target.cert:
        raise StoreRefused("state: key=PATH in the URL is of a certificate; add cert=PATH")
    if target.cert:
        try:
            context.load_cert_chain(target.cert, target.key or None, password=_no_passphrase)
        except (ssl.SSLError, ValueError) as exc:
            raise StoreRefused(
                f"state: {target.cert} and {target.key or 'the same file'} are no certificate and its key;"
                " name files in PEM without a passphrase with cert=PATH and key=PATH"
            ) from exc


def _no_passphrase() -> str:
    raise ValueError


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as exc:
        raise StoreRefused(f"state: {path} cannot be read: {exc.strerror}") from exc
