"""The HTTP process comes and goes, and nothing that it does concerns a call."""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from nh.config import check_served_addresses
from nh.config.sources import load_settings
from nh.errors import ConfigError
from nh.http.server import _Supervision
from nh.stats import segment_name
from tests.http.ng_clients import PostNgClient
from tools.harness.call import RelayedCall
from tools.harness.deployment import Deployment, deployed_relay, has_ended
from tools.harness.http import http_address, http_client
from tools.harness.relay import Relay, running_relay
from tools.harness.unbroken import UnbrokenMedia
from tools.harness.waiting import eventually


def http_process(relay: Relay) -> psutil.Process | None:
    """The HTTP process of a relay; None: there is none now."""
    for child in psutil.Process(relay.program.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "nh-http" and child.status() != psutil.STATUS_ZOMBIE:
                return child
    return None


def running_http_process(relay: Relay) -> psutil.Process:
    process = eventually(lambda: http_process(relay), "the HTTP process runs", 30)
    assert process is not None
    return process


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:  # the process that had the connection has ended
        return False


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed_relay(http="127.0.0.1:0", http_ng=True, address="127.0.0.1") as deployment:
        yield deployment


def test_a_killed_one_is_started_again_and_calls_go_on() -> None:
    with (
        running_relay(http="127.0.0.1:0") as relay,
        http_client(relay) as client,
        RelayedCall(relay.unix_address) as call,
    ):
        assert is_ready(client)
        call.talk()
        shards = [relay.shard_pid(0), relay.shard_pid(1)]
        before = running_http_process(relay)
        with UnbrokenMedia([call]):
            before.kill()
            relay.program.wait_for_line("the HTTP process")
            eventually(lambda: is_ready(client), "it serves again", 30)
        assert call.end() == 1
        assert running_http_process(relay).pid != before.pid
        assert [relay.shard_pid(0), relay.shard_pid(1)] == shards
        assert "calls are not affected" in relay.program.output
        process = running_http_process(relay)
        assert process.nice() >= 10
        status = Path(f"/proc/{process.pid}/status").read_text()
        for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"):
            assert line in status


def test_one_that_starts_while_the_statistics_have_no_name_has_them_still() -> None:
    """So systemd-logind does at the logout of the user whose nh it is (RemoveIPC=)."""
    with running_relay(http="127.0.0.1:0") as relay, http_client(relay) as client:
        assert is_ready(client)
        before = running_http_process(relay)
        Path("/dev/shm", segment_name(relay.directory)).unlink()
        before.kill()
        relay.program.wait_for_line("the HTTP process")
        eventually(lambda: is_ready(client), "it serves again", 30)
        assert 'nh_shard_up{shard="0"} 1.0' in client.get("/metrics").text


@pytest.mark.full
def test_one_that_hangs_slows_no_command_and_ends_with_nh() -> None:
    with running_relay(http="127.0.0.1:0") as relay, http_client(relay) as client:
        assert is_ready(client)
        running_http_process(relay).suspend()
        assert relay.calls().calls == ()


@pytest.mark.full
def test_one_that_hangs_is_killed_and_started_again() -> None:
    with running_relay(http="127.0.0.1:0") as relay:
        with http_client(relay) as client:
            assert is_ready(client)
        before = running_http_process(relay)
        before.suspend()
        relay.program.wait_for_line(f"the HTTP process (pid {before.pid}) hangs: it is killed", timeout_s=60)
        with http_client(relay) as client:
            eventually(lambda: is_ready(client), "it serves again", 60)
        assert running_http_process(relay).pid != before.pid

        def counted() -> bool:  # on a busy host, the next one may have hung, too
            supervisor = relay.stats().supervisor
            return supervisor.http_restarts == supervisor.http_hangs >= 1

        eventually(counted, "both are counted")


@pytest.mark.full
def test_it_ends_with_a_supervisor_that_is_killed(deployment: Deployment) -> None:
    relay = deployment.start()
    process = running_http_process(relay)
    with http_client(relay) as client:
        assert is_ready(client)
    deployment.kill_supervisor()
    eventually(lambda: has_ended(process), "the HTTP process has ended")
    with pytest.raises(ConnectionRefusedError), socket.create_connection(http_address(relay)):
        pass


@pytest.mark.parametrize("how", ["upgrade", pytest.param("takeover", marks=pytest.mark.full)])
def test_its_socket_outlives_an_upgrade_and_a_takeover(deployment: Deployment, how: str) -> None:
    relay = deployment.start()
    address = http_address(relay)
    process = running_http_process(relay)
    with http_client(relay) as client, PostNgClient(address) as ng:
        assert is_ready(client)
        assert ng.get("ping")["result"] == "pong"
    if how == "upgrade":
        deployment.nh("upgrade")
    else:
        deployment.take_over()
    with (
        http_client(relay) as client,
        PostNgClient(address) as ng,
    ):  # at the same port, though 0 was asked for
        eventually(lambda: is_ready(client), "the next one serves", 30)
        assert ng.get("ping")["result"] == "pong"
    eventually(lambda: has_ended(process), "the one before has ended")


def test_a_relay_that_drains_is_not_ready_and_says_why(deployment: Deployment) -> None:
    relay = deployment.start()
    call = deployment.make_call(b"last")
    with http_client(relay) as client:
        assert is_ready(client)
        psutil.Process(relay.program.pid).send_signal(signal.SIGUSR1)
        relay.program.wait_for_line("draining")
        eventually(lambda: client.get("/readyz").status_code == 503, "it is not ready")
        assert client.get("/readyz").json()["why"].startswith("nh is draining: new calls are refused")
        assert client.get("/healthz").status_code == 200
    call.end()
    assert relay.program.wait() == 0


def test_without_the_extra_nh_does_not_start_and_says_what_to_install() -> None:
    program = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'starlette' else find(name, *rest)\n"
        "sys.argv = ['nh', 'run', '--http', '127.0.0.1:0']\n"
        "from nh.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "command line: --http: starlette is not installed" in done.stderr
    assert "pip install '.[http]'" in done.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"http": ["192.0.2.1:8080"]}, "http: 192.0.2.1:8080: 192.0.2.1 is not loopback"),
        (
            {"http": ["192.0.2.1:8080"], "http_public": True, "http_ng": True, "address": "127.0.0.1"},
            "http_ng is set",
        ),
        ({"http_ng": True}, "--http-ng: needs an address to serve"),
        ({"http": ["127.0.0.1:0"], "http_ng": True}, "--http-ng: needs an address for media"),
        ({"http": ["/run/nh/http.sock"]}, "--http: /run/nh/http.sock: a path"),
    ],
)
def test_addresses_that_cannot_be_are_refused(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        check_served_addresses(load_settings(flags=settings, environment={}))


def test_other_addresses_are_allowed_where_all_that_it_takes_is_said() -> None:
    public: dict[str, object] = {"http": ["192.0.2.1:8080"], "http_public": True}
    with_ng = {**public, "http_ng": True, "rpc_public": True, "address": "127.0.0.1"}
    for settings in (public, with_ng):
        check_served_addresses(load_settings(flags=settings, environment={}))


def test_a_supervisor_that_ends_with_signs_of_life_unread_is_no_error() -> None:
    errors: list[object] = []

    async def run() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ending = asyncio.Event()
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
            _ = _Supervision(ours, ending.set)
            theirs.close()
            await asyncio.wait_for(ending.wait(), 10)

    asyncio.run(run())
    assert errors == []
