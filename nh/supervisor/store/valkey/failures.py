"""The store's errors in place of those of the server's client."""

import contextlib
import re
import ssl
from collections.abc import Iterator
from typing import Final, TypeVar

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
from valkey.sentinel import MasterNotFoundError

from nh.errors import StoreUnavailable
from nh.printable import escaped
from nh.supervisor.store.engine import StoreRefused

REPLY_S: Final = 2.0
"""How long a reply may take."""

_MOST_TEXT: Final = 200

_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a reply leads to that has another shape: in the client, which parses it, or where it is used."""

_NO_PASSWORD: Final = "the server wants a password; add password_file=PATH to the URL"

_NO_SENTINEL: Final = "the server is no Sentinel; name the Sentinels, or leave sentinel= out of the URL"

_MOVING: Final = "the calls are moving to another node of the cluster ({}); wait until all are there"

_REFUSED_CERTIFICATE: Final = re.compile(
    "alert (unknown ca|bad certificate|certificate (expired|revoked|unknown)|unsupported certificate)"
)
"""What a server says of a client's certificate (RFC 8446, section 6.2), in OpenSSL's words."""

_TRUST: Final = "ca=PATH in the URL trusts the issuer of a certificate"

_CERTIFICATE_REMEDIES: Final = {
    9: "the server's certificate is not valid yet: look at the clocks of both hosts",
    10: "renew the certificate of the server",
    62: "name the server in the URL as its certificate does",
    64: "name the server in the URL by an address or a name that its certificate has",
}
"""What to do about a certificate by the error of OpenSSL (x509_vfy.h); _TRUST for any other."""

_SENTENCES: Final[tuple[tuple[type[Exception], str, type[StoreUnavailable], str], ...]] = (
    (AuthenticationError, "Authentication required", StoreRefused, _NO_PASSWORD),
    (ResponseError, "NOAUTH", StoreRefused, _NO_PASSWORD),
    (ResponseError, "Protocol error: unauthenticated", StoreRefused, _NO_PASSWORD),  # of a long command
    (
        AuthenticationError,
        "",
        StoreRefused,
        "the server refuses user and password ({}); correct the URL or its password_file",
    ),
    (
        NoPermissionError,
        "",
        StoreRefused,
        "the server's ACL refuses a command ({}); permit all that docs/reference/store-server.md lists",
    ),
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
        "the calls are at another node of a cluster ({}); a URL with valkey+cluster:// finds it",
    ),
    (ResponseError, "ASK", StoreUnavailable, _MOVING),
    (ResponseError, "TRYAGAIN", StoreUnavailable, _MOVING),
    (
        ResponseError,
        "CLUSTERDOWN",
        StoreUnavailable,
        "the cluster is down ({}); `valkey-cli --cluster check` says why",
    ),
    (
        ResponseError,
        "MASTERDOWN",
        StoreUnavailable,
        "the server is a replica without its primary ({}); name the primary, or say ?sentinel=NAME",
    ),
    (
        ResponseError,
        "NOREPLICAS",
        StoreUnavailable,
        "the server has too few replicas to write ({}); start them, or correct its min-replicas-to-write",
    ),
    (
        ResponseError,
        "MISCONF",
        StoreUnavailable,
        "the server cannot save its data ({}); look at its disk and its log",
    ),
    (ResponseError, "unknown command 'SENTINEL'", StoreUnavailable, _NO_SENTINEL),
    (ResponseError, "unknown command `SENTINEL`", StoreUnavailable, _NO_SENTINEL),  # before Redis 7
    (
        ResponseError,
        "unknown command",
        StoreUnavailable,
        "the server lacks a command ({}); a Sentinel needs ?sentinel=NAME, and Redis has to be 6.2 or later",
    ),
    (
        ConnectionError,
        "Error 8 while writing to socket",  # its alert with the reason came too late to be read
        StoreUnavailable,
        "the server has ended the TLS connection ({}); its log says why, such as a certificate of nh that it"
        " misses or refuses",
    ),
    (ConnectionError, "Error ", StoreUnavailable, "there is no connection to the server ({})"),
    (
        TimeoutError,
        "Timeout connecting",
        StoreUnavailable,
        "there is no connection to the server in time ({}); valkeys:// is for a server with TLS, valkey://"
        " for one without",
    ),
    (TimeoutError, "", StoreUnavailable, f"the server has not answered within {REPLY_S:g} s ({{}})"),
)
"""By the client's error and the beginning of its text: the store's error, and what it says."""


@contextlib.contextmanager
def failures(name: str) -> Iterator[None]:
    """Turn errors of the client, and replies of another shape, within the block into errors of the engine.

    Args:
        name: of the store; begins each message.
    """
    try:
        yield
    except (ValkeyError, OSError) as exc:
        raise _failure(name, exc) from exc
    except _UNREADABLE as exc:
        said = escaped(f"{type(exc).__name__}: {exc}")[:_MOST_TEXT]
        raise StoreUnavailable(f"{name}: the server's reply cannot be read ({said})") from exc


def _failure(name: str, exc: Exception) -> StoreUnavailable:
    said = escaped(" ".join(str(exc).split()))[:_MOST_TEXT] or type(exc).__name__
    if "certificate required" in said.lower().replace("_", " "):
        return StoreRefused(
            f"{name}: TLS: {said}; the server wants a certificate: add cert=PATH and key=PATH to the URL"
        )
    if _REFUSED_CERTIFICATE.search(said):
        return StoreRefused(
            f"{name}: TLS: {said}; the server refuses nh's certificate: renew that of cert=PATH, or have the"
            " server trust its issuer"
        )
    untrusted = _cause(exc, ssl.SSLCertVerificationError)
    if untrusted is not None:
        remedy = _CERTIFICATE_REMEDIES.get(untrusted.verify_code, _TRUST)
        return StoreRefused(f"{name}: TLS: {said}; {remedy}")
    for kind, beginning, error, sentence in _SENTENCES:
        if isinstance(exc, kind) and said.startswith(beginning):
            return error(f"{name}: {sentence.format(said)}")
    return StoreUnavailable(f"{name}: {said}")


def has_waited(failure: StoreUnavailable) -> bool:
    """Whether a request waited in vain for its reply, or for its connection."""
    return _cause(failure, TimeoutError) is not None


_Kind = TypeVar("_Kind", bound=BaseException)


def _cause(exc: BaseException | None, kind: type[_Kind]) -> _Kind | None:
    """The first of an exception and its causes that is of a kind; None: none is."""
    while exc is not None and not isinstance(exc, kind):
        exc = exc.__cause__ or exc.__context__
    return exc
