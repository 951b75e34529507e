"""Calls on a server of Valkey's protocol outlive the host: another start without any local file has them."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, Demote, Ping, Reload, TransactionKey
from nh.errors import Draining, Refused
from nh.supervisor.store.valkey.url import parse_url
from tests.profiles import quick_first
from tests.supervisor.test_valkey_servers import sentinel_of
from tests.supervisor.valkey_tls import make_certificate
from tests.survival.test_restart import Where, begin
from tools.harness.call import RelayedCall
from tools.harness.command import nh, nh_ok
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import free_port
from tools.harness.relay import Place, Relay, as_environment
from tools.harness.valkey_cluster import valkey_cluster
from tools.harness.valkey_server import ValkeyServer, valkey_server
from tools.harness.waiting import TIMEOUT_S, eventually

pytestmark = pytest.mark.valkey

PASSWORD = "open-sesame"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server({"requirepass": PASSWORD}) as server:
        yield server


def url_of(server: ValkeyServer) -> str:
    return f"valkey://:{PASSWORD}@{server.host}:{server.port}/0?prefix=one"


@contextlib.contextmanager
def running(place: Place, server: ValkeyServer, **settings: object) -> Iterator[Relay]:
    url = url_of(server)
    environment = {f"NH_{name.upper()}": str(value) for name, value in settings.items()}
    relay = Relay(place, 2, {"NH_STATE": url, **environment})
    with relay.program:
        relay.wait_until_ready()
        yield relay


def test_calls_come_back_from_the_server_when_everything_of_the_host_is_lost(
    place: Place, server: ValkeyServer
) -> None:
    with contextlib.ExitStack() as phones:
        calls: list[tuple[MediaPeer, MediaPeer, Where, Where]] = []
        with running(place, server) as relay:
            for number in range(10):
                alice, bob = (phones.enter_context(MediaPeer("127.0.0.1")) for _ in range(2))
                calls.append((alice, bob, *begin(relay, f"call {number}", alice, bob)))
            until_stored(relay)
            assert relay.stats().supervisor.store_up == 1
            assert PASSWORD not in " ".join(word for each in processes(relay) for word in each.cmdline())
            relay.kill_all()
        shutil.rmtree(place.directory)
        with running(place, server) as relay:
            assert len(relay.calls().calls) == 10
            for alice, bob, for_alice, for_bob in calls:
                alice.send(b"still there?", for_alice)
                assert bob.receive() == (b"still there?", for_bob)
                bob.send(b"yes", for_bob)
                assert alice.receive() == (b"yes", for_alice)
            assert PASSWORD not in relay.program.output
            assert relay.program.stop() == 0


@pytest.fixture(params=["cluster", "sentinel", "tls"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The setting `state` for a server of each kind."""
    with contextlib.ExitStack() as servers:
        match request.param:
            case "cluster":
                nodes = servers.enter_context(valkey_cluster())
                yield f"valkey+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}/0?prefix=one"
            case "sentinel":
                primary = servers.enter_context(valkey_server())
                port = servers.enter_context(sentinel_of(primary, tmp_path))
                yield f"valkey://127.0.0.1:{port}/0?prefix=one&sentinel=main"
            case _:
                certificate, key = make_certificate(tmp_path)
                files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
                servers.enter_context(valkey_server({**files, "tls-port": (port := free_port())}))
                yield (
                    f"valkeys://127.0.0.1:{port}/0?prefix=one&ca={certificate}&cert={certificate}&key={key}"
                )


@pytest.mark.full
def test_calls_come_back_from_a_server_of_each_kind(place: Place, url: str) -> None:
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        relay = Relay(place, 1, {"NH_STATE": url})
        with relay.program:
            relay.wait_until_ready()
            for_alice, for_bob = begin(relay, "call", alice, bob)
            until_stored(relay)
            assert relay.stats().supervisor.store_up == 1
            relay.kill_all()
        shutil.rmtree(place.directory)
        relay = Relay(place, 1, {"NH_STATE": url})
        with relay.program:
            relay.wait_until_ready()
            alice.send(b"still there?", for_alice)
            assert bob.receive() == (b"still there?", for_bob)
            bob.send(b"yes", for_bob)
            assert alice.receive() == (b"yes", for_alice)
            assert relay.program.stop() == 0


def until_stored(relay: Relay) -> None:
    """Return when the server has all that was answered before."""
    answered = time.monotonic()

    def is_stored() -> bool:
        reading = relay.stats()
        age_s = reading.supervisor.heartbeat_age_s
        return age_s is not None and reading.clock - age_s > answered and not reading.supervisor.store_pending

    eventually(is_stored, "all is stored")


def processes(relay: Relay) -> list[psutil.Process]:
    supervisor = psutil.Process(relay.program.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def test_while_the_server_is_away_calls_go_on_and_new_ones_are_taken_and_both_are_written_later(
    place: Place, server: ValkeyServer
) -> None:
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob, running(place, server) as relay:
        for_alice, for_bob = begin(relay, "before", alice, bob)
        server.stop()
        with MediaPeer("127.0.0.1") as carol, MediaPeer("127.0.0.1") as dave:
            begin(relay, "during", carol, dave)
            alice.send(b"hello", for_alice)
            assert bob.receive() == (b"hello", for_bob)
            eventually(lambda: relay.stats().supervisor.store_up == 0, "the failure is counted")
            assert relay.stats().supervisor.store_pending
            server.start()
            client = server.client(password=PASSWORD)
            eventually(lambda: set(client.hkeys("{one}:calls")) == {b"before", b"during"}, "both are there")
            eventually(lambda: relay.stats().supervisor.store_up == 1, "that is counted")
        assert relay.program.stop() == 0
        assert sum("calls go on but are not stored" in line for line in relay.program.lines) == 1


@pytest.mark.parametrize("setting", quick_first(["refuse", "end"]))
def test_new_calls_are_refused_while_the_server_is_away_if_the_setting_says_so(
    place: Place, server: ValkeyServer, setting: str
) -> None:
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        with running(place, server, state_away=setting) as relay:
            for_alice, for_bob = begin(relay, "before", alice, bob)
            server.stop()
            eventually(lambda: relay.stats().supervisor.store_refuses, "new calls are refused")
            with MediaPeer("127.0.0.1") as carol, MediaPeer("127.0.0.1") as dave:
                with NativeClient(relay.unix_address, TIMEOUT_S) as client:
                    key, media = (
                        TransactionKey(b"during", 1, b"a", b"b"),
                        Media(carol.address, carol.port, 2, "RTP/AVP", "audio"),
                    )
                    with pytest.raises(Draining, match="its store is away"):
                        client.request(Allocate(key, Side.FROM, "127.0.0.1", (media,)))
                alice.send(b"hello", for_alice)
                assert bob.receive() == (b"hello", for_bob)
                server.start()
                eventually(lambda: not relay.stats().supervisor.store_refuses, "they are taken")
                begin(relay, "after", carol, dave)
            server.stop()
            relay.program.stop()
        refused = Relay(place, 1, {"NH_STATE": server.url, "NH_STATE_AWAY": setting})
        with refused.program:
            assert refused.program.wait(60) != 0
            assert "Connection refused" in refused.program.output


@pytest.mark.parametrize("standby", quick_first([False, True]))
def test_an_upgrade_that_could_not_open_the_store_is_refused_and_everything_stays(
    place: Place, server: ValkeyServer, standby: bool
) -> None:
    promoted = running(place, server, state_away="refuse", standby=standby)  # no other relay has the calls
    with promoted as relay, RelayedCall(relay.unix_address) as call:
        shards = relay.shard_processes()
        server.stop()
        refused = nh(place, "upgrade")
        assert refused.exit_code == 1
        said = refused.stderr.splitlines()[-1]
        assert said.startswith("nh: everything stays as it is: environment: NH_STATE: valkey://")
        assert "there is no connection to the server" in said
        settings = {"state": url_of(server), "state_away": "refuse", "standby": standby}
        successor = Relay(place, 2, as_environment(settings), words=("--takeover",))
        with successor.program:
            assert successor.program.wait(60.0) == 1
            assert "nh cannot start: environment: NH_STATE: valkey://" in successor.program.output
        assert relay.shard_processes() == shards
        call.talk()
        server.start()
        nh_ok(place, "upgrade")
        call.talk()


def test_a_standby_that_cannot_take_the_calls_follows_them_on_and_takes_them_later(
    place: Place, server: ValkeyServer
) -> None:
    from nh.supervisor.store.valkey.engine import ValkeyEngine  # noqa: PLC0415  needs the extra valkey

    location = f":{PASSWORD}@{server.host}:{server.port}/0?prefix=one&lease=60"
    other = ValkeyEngine(parse_url("valkey", location), "other")
    other.open()
    relay = Relay(place, 1, as_environment({"state": f"valkey://{location}", "standby": True}))
    with relay.program, server.client(password=PASSWORD) as administrator:
        relay.program.wait_for_line("waiting until it ends")
        with (
            NativeClient(relay.unix_address, TIMEOUT_S) as client,
            pytest.raises(Refused, match="nh upgrade starts it anew"),
        ):
            client.request(Reload())
        administrator.execute_command("ACL SETUSER", "default", "-xrevrange")  # taking over needs it
        other.close()
        relay.program.wait_for_line("not promoted: state: valkey://")
        administrator.execute_command("ACL SETUSER", "default", "+xrevrange")
        relay.wait_until_ready()
        assert relay.program.stop() == 0


@pytest.mark.full
def test_calls_that_cannot_be_written_stay_at_their_relay_which_goes_on(
    place: Place, server: ValkeyServer
) -> None:
    from nh.supervisor.store.valkey.follower import Follower  # noqa: PLC0415  as above

    location = f":{PASSWORD}@{server.host}:{server.port}/0?prefix=one&lease=60"
    standby = Follower(parse_url("valkey", location), "standby:/run/nh")
    relay = Relay(place, 1, as_environment({"state": f"valkey://{location}"}))
    with relay.program, contextlib.ExitStack() as phones:
        relay.wait_until_ready()
        call = phones.enter_context(RelayedCall(relay.unix_address))
        with NativeClient(relay.unix_address, TIMEOUT_S) as client:

            def is_known() -> bool:
                standby.poll()
                with pytest.raises(Refused) as refused:
                    client.request(Demote("nowhere"))
                return "standby:/run/nh" in str(refused.value)

            eventually(is_known, "the relay knows its standby", 30.0)
            standby.close()
            process = psutil.Process(server.program.pid)
            process.suspend()
            try:
                assert client.request(Demote()).to == "standby:/run/nh"
                relay.program.wait_for_line("the calls stay here")
                assert client.request(Ping()).version
                call.talk()
            finally:
                process.resume()
        eventually(lambda: relay.stats().supervisor.store_up == 1, "the store works again", 30.0)
        with RelayedCall(relay.unix_address) as another:
            another.talk()


def test_a_server_that_takes_no_calls_is_a_fault_in_every_view(place: Place, server: ValkeyServer) -> None:
    full = "the server's memory is full"
    with running(place, server) as relay, server.client(password=PASSWORD) as client:
        assert "stored" not in nh_ok(place, "health").stdout
        client.config_set("maxmemory", "1")
        eventually(lambda: full in relay.stats().supervisor.store_fault, "the relay cannot write", 30.0)
        relay.program.wait_for_line(full)
        said = nh_ok(place, "health").stdout
        assert said.startswith("ok: ")
        assert f"calls are not stored: valkey://{server.host}:{server.port}/0?prefix=one: {full}" in said
        assert full in " ".join(nh_ok(place, "stats", "--once").stdout.split()), "which may wrap it"
        (found,) = [each for each in findings(place) if full in each["found"]]
        assert (found["check"], found["status"], found["remedy"]) == (
            "stored",
            "warning",
            "raise its maxmemory",
        )
        client.config_set("maxmemory", "0")
        relay.program.wait_for_line("works again, all calls are stored")
        eventually(lambda: not relay.stats().supervisor.store_fault, "no fault is left", 30.0)
        assert PASSWORD not in relay.program.output


def findings(place: Place) -> list[dict[str, str]]:
    """What `nh doctor` finds, whatever its exit status."""
    found: list[dict[str, str]] = json.loads(nh(place, "doctor", "--json").stdout)["findings"]
    return found
