"""Servers over TLS, and a primary that Sentinels know: found, and found again after a failover."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoredCall, StoreEngine, StoreRefused
from nh.supervisor.store.store import Store
from nh.supervisor.store.valkey.url import parse_url
from tests.supervisor.stores import until_written
from tests.supervisor.valkey_group import Group
from tests.supervisor.valkey_tls import expire, make_certificate, tls_options
from tools.harness.ports import free_port
from tools.harness.program import Program
from tools.harness.valkey_server import ValkeyServer, program_name, valkey_server
from tools.harness.waiting import eventually

pytestmark = pytest.mark.valkey


def engine(scheme: str, location: str) -> StoreEngine:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    return ValkeyEngine(parse_url(scheme, location), "relay-1")


def test_a_server_over_tls_is_used_if_its_certificate_is_trusted_and_has_its_name(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    with valkey_server(tls_options(certificate, key, port, auth_clients="no")):
        opened = engine("valkeys", f"127.0.0.1:{port}/0?ca={certificate}")
        assert opened.open() == []
        opened.write({b"a": StoredCall(b"a", b"1", 1.5)})
        opened.close()
        assert opened.name.startswith("valkeys://")
        with pytest.raises(StoreRefused, match=r"TLS: .*; ca=PATH in the URL"):
            engine("valkeys", f"127.0.0.1:{port}/0").open()
        with pytest.raises(StoreRefused, match=r"TLS: .*'localhost'.*; name the server in the URL as its"):
            engine("valkeys", f"localhost:{port}/0?ca={certificate}").open()
        with pytest.raises(StoreRefused, match="cannot be read"):
            engine("valkeys", f"127.0.0.1:{port}/0?ca={tmp_path}/none").open()


def test_an_expired_certificate_is_to_be_renewed(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    expire(certificate, key)
    port = free_port()
    with (
        valkey_server(tls_options(certificate, key, port, auth_clients="no")),
        pytest.raises(StoreRefused, match=r"TLS: .*has expired.*; renew the certificate of the server$"),
    ):
        engine("valkeys", f"127.0.0.1:{port}/0?ca={certificate}").open()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("ca=KEY", "KEY has no certificate; ca=PATH is a file in PEM"),
        ("key=KEY", "key=PATH in the URL is of a certificate; add cert=PATH"),
        (
            "cert=CERTIFICATE",
            "CERTIFICATE and the same file are no certificate and its key; name files in PEM",
        ),
        ("cert=KEY&key=CERTIFICATE", "KEY and CERTIFICATE are no certificate and its key"),
        ("cert=CERTIFICATE&key=LOCKED", "CERTIFICATE and LOCKED are no certificate and its key"),
    ],
)
def test_files_that_are_no_certificate_and_key_are_told_from_a_server_that_is_away(
    options: str, said: str, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    words = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(words, check=True, capture_output=True)
    for name, path in {"CERTIFICATE": certificate, "KEY": key, "LOCKED": locked}.items():
        options, said = options.replace(name, str(path)), said.replace(name, str(path))
    with pytest.raises(StoreRefused) as caught:
        engine("valkeys", f"127.0.0.1:1/0?{options}").open()
    assert str(caught.value).startswith(f"state: {said}")


def test_a_server_that_wants_a_certificate_of_nh_gets_it(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    with valkey_server(tls_options(certificate, key, port, auth_clients="yes")):
        opened = engine("valkeys", f"127.0.0.1:{port}/0?ca={certificate}&cert={certificate}&key={key}")
        assert opened.open() == []
        opened.close()
        # the end of the connection may overtake the server's reason
        with pytest.raises(
            StoreUnavailable, match=r"wants a certificate: add cert=PATH|there is no connection|has ended the"
        ):
            engine("valkeys", f"127.0.0.1:{port}/0?ca={certificate}").open()


PATIENCE_MS = 60_000
"""A busy host keeps a server waiting; its Sentinel does not take it for dead."""


def kill(primary: ValkeyServer, sentinel: Any) -> None:
    """End a primary at once; its Sentinel notices that soon, and promotes the replica."""
    primary.stop()
    sentinel.sentinel_set("main", "down-after-milliseconds", 500)


@contextlib.contextmanager
def sentinel_of(primary: ValkeyServer, directory: Path, password: str = "") -> Iterator[int]:
    """The port of a Sentinel that knows `primary` by the name main.

    Args:
        primary: the server.
        directory: for its files.
        password: of the Sentinel and of the servers; "": they have none.
    """
    port, file = free_port(), directory / "sentinel.conf"
    file.write_text(
        f"bind 127.0.0.1\nport {port}\ndir {directory}\n"
        f"sentinel monitor main {primary.host} {primary.port} 1\n"
        f"sentinel down-after-milliseconds main {PATIENCE_MS}\n"
        "sentinel failover-timeout main 1000\n"
        + (f"requirepass {password}\nsentinel auth-pass main {password}\n" if password else "")
    )
    with Program([program_name(), str(file), "--sentinel"]) as program:
        program.wait_for_line("monitor master")
        yield port


@pytest.mark.full
def test_the_primary_of_sentinels_is_found_and_its_successor_gets_all_calls(tmp_path: Path) -> None:
    from valkey import Valkey  # noqa: PLC0415  the extra may be missing

    with (
        valkey_server() as primary,
        valkey_server({"replicaof": f"127.0.0.1 {primary.port}"}) as replica,
        sentinel_of(primary, tmp_path) as port,
        Valkey(port=port) as sentinel,
    ):
        eventually(lambda: primary.client().info()["connected_slaves"], "the replica is connected")
        eventually(lambda: sentinel.sentinel_slaves("main"), "the Sentinel knows it", 30.0)
        store = Store(engine("valkey", f"127.0.0.1:{port}/0?sentinel=main"))
        store.put(b"a", b"1")
        until_written(store)
        assert Group(primary, "nh").contents() == {b"a": b"1"}
        kill(primary, sentinel)
        store.put(b"b", b"2")
        until_written(store)
        assert Group(replica, "nh").contents() == {b"a": b"1", b"b": b"2"}
        store.close(5.0)


@pytest.mark.full
def test_sentinels_and_servers_with_passwords_lead_a_standby_to_the_primary_and_to_its_successor(
    tmp_path: Path,
) -> None:
    from valkey import Valkey  # noqa: PLC0415  as above

    from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  needs the extra valkey
    from nh.supervisor.store.valkey.followers import Followers  # noqa: PLC0415  as above

    password, file = "secret", tmp_path / "password"
    file.touch(0o600)
    file.write_text(password)
    file.chmod(0o600)
    secured = {"requirepass": password, "masterauth": password}
    with (
        valkey_server(secured) as primary,
        valkey_server({**secured, "replicaof": f"127.0.0.1 {primary.port}"}) as replica,
        sentinel_of(primary, tmp_path, password) as port,
        Valkey(port=port, password=password) as sentinel,
    ):
        eventually(lambda: sentinel.sentinel_slaves("main"), "the Sentinel knows the replica", 30.0)
        files = f"password_file={file}&sentinel_password_file={file}"
        location = f"127.0.0.1:{port}/0?sentinel=main&{files}"
        store = Store(engine("valkey", location))
        store.put(b"a", b"1")
        until_written(store)
        targets = [parse_url("valkey", f"{location}&prefix={name}") for name in ("nh", "none")]
        standby = Followers([Follower(each, "standby") for each in targets])
        follower, _ = standby

        def is_warm(*call_ids: bytes) -> bool:
            with contextlib.suppress(StoreUnavailable):
                _ = [*standby.poll()]
            return {*follower.copy.calls} == {*call_ids}

        eventually(lambda: is_warm(b"a"), "it is warm")
        kill(primary, sentinel)
        store.put(b"b", b"2")
        until_written(store)
        eventually(lambda: is_warm(b"a", b"b"), "it is warm again", 30.0)
        standby.leave()
        assert replica.client(password=password).info()["role"] == "master"
        store.close(5.0)
