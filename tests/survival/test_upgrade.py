"""nh upgrade: the supervisor goes on as the code that is installed, and neither calls nor clients notice."""

import contextlib
import functools
import json
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nh
from nh.client import NativeClient
from nh.commands import Close, CloseCall, Ping, TransactionKey, Upgrade
from nh.errors import Draining
from nh.results import Closed, Pong, Upgrading
from nh.wire import native, netsip
from tests.constants import set_constants
from tests.supervisor.test_run import pipelined
from tests.wire.ng import SDP, offer, payload
from tools.harness.call import RelayedCall
from tools.harness.command import nh as nh_command
from tools.harness.command import nh_ok
from tools.harness.deployment import SHARDS, Deployment, assert_goes_on, deployed_relay, has_ended
from tools.harness.relay import Relay, as_environment
from tools.harness.waiting import eventually

CALLS = 4
MAX_S = 120.0
"""An upgrade starts Python three times, on CPUs that tests share."""


NO_ALARMS = {
    "nh.shard.recovery.orphan:PATIENCE_S": MAX_S,
    "nh.supervisor.shards.process:MAX_FORK_S": MAX_S,
}
"""What an upgrade may take before nh warns: a busy host takes longer than nh's own limits."""


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    set_constants(monkeypatch, NO_ALARMS)
    with deployed_relay() as deployment:
        yield deployment


def shard_pids(relay: Relay) -> set[int]:
    return {process.pid for process in relay.shard_processes()}


def upgrades(relay: Relay) -> int:
    """How often it has begun an upgrade."""
    return relay.program.output.count("upgrade: going on as nh")


def wait_until_upgraded(relay: Relay, times: int = 1) -> None:
    """Return once it has come up again so often."""

    def is_over() -> bool:
        return relay.program.output.count("ready: ") == times + 1

    eventually(is_over, f"upgrade {times} is over", MAX_S)


def assert_stays(relay: Relay, shards: set[int], calls: list[RelayedCall]) -> None:
    """Nothing happened to it."""
    assert shard_pids(relay) == shards
    assert upgrades(relay) == 0
    for call in calls:
        call.talk()
        assert relay.call(call.call_id).sessions
    with NativeClient(relay.unix_address, MAX_S) as client:
        assert client.request(Ping()) == Pong(nh.__version__)


# --- what it does ---------------------------------------------------------------------------------


def test_calls_go_on_in_new_shards_of_the_same_supervisor(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    first_start = relay.stats().supervisor.started
    for upgrade in (1, 2):
        before = [relay.call(call.call_id) for call in calls]
        shards = relay.shard_processes()
        result = nh_ok(deployment.place, "upgrade")
        assert result.stdout.startswith(f"nh {nh.__version__} runs with 2 shards; {len(calls)} calls go on; ")
        assert f"nh {nh.__version__} takes over …" in result.stderr.splitlines()
        supervisor, totals = relay.stats().supervisor, relay.stats().totals
        assert sum(totals.command_s.counts) >= 3 * CALLS, "each call took three commands"
        assert sum(totals.loop_late_s.counts) > 0
        assert supervisor.pid == relay.program.pid
        assert supervisor.running_since == first_start < supervisor.started
        assert supervisor.taken_over == 1
        for call, then in zip(calls, before, strict=True):
            assert_goes_on(then, relay.call(call.call_id))
            call.talk()
        eventually(functools.partial(are_gone, shards), "the shards before are gone")
        eventually(lambda: not zombies(relay), "all that has ended is reaped")
        calls.append(deployment.make_call(b"after upgrade %d" % upgrade))
    assert [call.end() for call in calls] == [1] * len(calls)
    eventually(relay.all_ports_are_free, "all ports are free")
    assert relay.program.stop() == 0
    assert not alarms(relay)
    assert sorted(path.name for path in deployment.place.directory.iterdir()) == ["nh.lock"]


def alarms(relay: Relay) -> list[str]:
    """Log lines that would wake an operator."""
    return [line for line in relay.program.output.splitlines() if " ERROR " in line or " WARNING " in line]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() for process in processes)


def zombies(relay: Relay) -> list[psutil.Process]:
    return [child for child in psutil.Process(relay.program.pid).children() if is_zombie(child)]


def is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # it is reaped meanwhile
        return process.status() == psutil.STATUS_ZOMBIE
    return False


def test_the_socket_gets_the_permissions_of_the_new_settings(deployment: Deployment, tmp_path: Path) -> None:
    config = tmp_path / "nh.toml"
    config.write_text('rpc_mode = "0600"\n')
    deployment.start("--config", str(config))
    sock = deployment.place.directory / "nh.sock"
    assert stat.S_IMODE(sock.stat().st_mode) == 0o600
    config.write_text('rpc_mode = "0660"\n')
    assert "`nh upgrade` applies: rpc_mode" in nh_ok(deployment.place, "reload").stdout
    nh_ok(deployment.place, "upgrade")
    assert stat.S_IMODE(sock.stat().st_mode) == 0o660


@pytest.mark.full
def test_it_leaves_no_descriptors_behind(deployment: Deployment) -> None:
    relay = deployment.start()
    deployment.make_calls(CALLS)
    nh_ok(deployment.place, "upgrade")
    eventually(lambda: len(relay.shard_processes()) == SHARDS, "the shards before are gone")
    before = relay.descriptors()
    nh_ok(deployment.place, "upgrade")
    eventually(lambda: len(relay.shard_processes()) == SHARDS, "the shards before are gone")
    eventually(lambda: relay.descriptors() <= before, "no more descriptors are open than before")


def test_it_prints_its_result_in_json(deployment: Deployment) -> None:
    relay = deployment.start()
    deployment.make_call(b"only")
    said = json.loads(nh_ok(deployment.place, "upgrade", "--json").stdout)
    assert said.pop("took_s") > 0
    assert said == {"version": nh.__version__, "shards": SHARDS, "calls": 1}
    eventually(lambda: len(relay.shard_processes()) == SHARDS, "the shards before are gone")
    assert not alarms(relay), "a shard without calls ends quietly too"


def test_sigusr2_does_the_same(deployment: Deployment) -> None:
    relay = deployment.start()
    calls, shards = deployment.make_calls(CALLS), shard_pids(relay)
    psutil.Process(relay.program.pid).send_signal(signal.SIGUSR2)
    wait_until_upgraded(relay)
    eventually(lambda: not shard_pids(relay) & shards, "the shards before are gone")
    for call in calls:
        call.talk()
        assert call.end() == 1


def test_signals_that_come_meanwhile_are_obeyed_by_the_new_code(deployment: Deployment) -> None:
    relay = deployment.start()
    shards = relay.shard_processes()
    deployment.make_calls(CALLS)
    supervisor = psutil.Process(relay.program.pid)
    for _ in range(3):
        supervisor.send_signal(signal.SIGUSR2)
    relay.program.wait_for_line("upgrade: going on")
    supervisor.send_signal(signal.SIGHUP)
    supervisor.send_signal(signal.SIGTERM)
    assert relay.program.wait(MAX_S) == 0
    eventually(lambda: all(map(has_ended, shards)), "no shard is left")
    assert not deployment.handover_sockets()


# --- clients --------------------------------------------------------------------------------------


def test_a_client_that_connects_meanwhile_waits_and_is_served(deployment: Deployment) -> None:
    relay = deployment.start()
    with NativeClient(deployment.address, MAX_S) as client:
        assert client.request(Upgrade()) == Upgrading(nh.__version__)
    over = False
    while not over:
        over = relay.program.output.count("ready: ") == 2
        for address in (deployment.address, relay.tcp_address):
            with NativeClient(address, timeout_s=MAX_S) as late:
                assert late.request(Ping()) == Pong(nh.__version__)


@pytest.mark.full
def test_a_connected_client_is_answered_by_the_new_code(deployment: Deployment) -> None:
    relay = deployment.start()
    call = deployment.make_call(b"call")
    with (
        NativeClient(deployment.address, timeout_s=MAX_S) as native_client,
        NativeClient(relay.tcp_address, timeout_s=MAX_S) as tcp_client,
    ):
        for upgrade in (1, 2):
            with pipelined(deployment.address) as netsip_client:
                assert native_client.request(Upgrade()) == Upgrading(nh.__version__)
                while relay.program.output.count("ready: ") <= upgrade:
                    assert tcp_client.request(Ping()) == native_client.request(Ping()) == Pong(nh.__version__)
                netsip_client.send(netsip.encode_request(Close(TransactionKey(b"none", 1, b"a"))))
                assert netsip.decode_reply(netsip_client.reply()) is None, "there is no such session"
        assert native_client.request(CloseCall(call.call_id)) == Closed(1)
    eventually(lambda: relay.stats().supervisor.rpc_clients == 0, "no client is connected any more")


def test_ng_requests_over_udp_wait_and_are_answered() -> None:
    with deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1") as deployment:
        relay = deployment.start()
        found = re.search(r"; ng 127\.0\.0\.1:(\d+);", relay.program.wait_for_line("ready"))
        assert found is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ng:
            ng.settimeout(MAX_S)
            ng.connect(("127.0.0.1", int(found[1])))
            ng.send(b"1 " + offer(call_id=b"call", sdp=SDP))
            told = ng.recv(65_536)
            with NativeClient(deployment.address, MAX_S) as client:
                client.request(Upgrade())
            number, over = 1, False
            while not over:
                over = relay.program.output.count("ready: ") == 2
                number += 1
                ng.send(b"%d " % number + payload("ping"))
                assert ng.recv(100) == b"%d d6:result4:ponge" % number
            ng.send(b"last " + payload("delete", call_id=b"call", from_tag=b"a"))
            assert b"6:result2:ok" in ng.recv(65_536)
        assert b"6:result2:ok" in told


def test_commands_in_flight_are_answered_before_the_new_code_is_there(deployment: Deployment) -> None:
    # on a busy host the check of the new code takes longer than a command, or the silence of a shard, may
    relay = deployment.start(command_timeout_s=20, hang_s=0)
    call = deployment.make_call(b"call")
    shard = psutil.Process(relay.stats().shards[relay.call(b"call").shard].pid)
    with pipelined(deployment.address) as connection, NativeClient(deployment.address, MAX_S) as client:
        shard.suspend()
        connection.send(native.encode_request(1, CloseCall(call.call_id)))
        connection.send(native.encode_request(2, Ping()))
        assert b'"id":2' in connection.reply()  # so the first is under way
        assert client.request(Upgrade()) == Upgrading(nh.__version__)
        shard.resume()
        assert native.decode_reply(connection.reply(), Closed) == (1, Closed(1))
    wait_until_upgraded(relay)
    assert not relay.calls().calls


# --- draining -------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_relay_that_drains_drains_on_with_its_limit(deployment: Deployment) -> None:
    relay = deployment.start()
    call = deployment.make_call(b"last")
    nh_ok(deployment.place, "drain", "--limit-s", "3600")
    nh_ok(deployment.place, "upgrade")
    with pytest.raises(Draining):
        RelayedCall(deployment.address, b"new")
    eventually(lambda: relay.stats().supervisor.draining == 1, "the statistics say so")
    assert 0 < drain_left_s(relay) <= 3600
    call.talk()
    assert call.end() == 1
    assert relay.program.wait() == 0
    assert "drained: no call is left" in relay.program.output


def drain_left_s(relay: Relay) -> float:
    return relay.stats().supervisor.drain_deadline - time.monotonic()


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.full
def test_settings_that_cannot_be_used_any_more_are_refused_and_everything_stays(
    deployment: Deployment, tmp_path: Path
) -> None:
    config = tmp_path / "nh.toml"
    config.write_text("silent_s = 30\n")
    relay = deployment.start("--config", str(config))
    calls, shards = deployment.make_calls(CALLS), shard_pids(relay)
    for nonsense in (
        "silent_s = 'long'\n",
        "silence = 1\n",
        "silent_s = \n",
        "interface = ['x/127.0.0.1@5000-5001']",
    ):
        config.write_text(nonsense)
        result = nh_command(deployment.place, "upgrade")
        assert result.exit_code == 1
        *waits, why = result.stderr.splitlines()
        assert why.startswith("nh: everything stays as it is: ")
        assert all(line.startswith("waiting for nh, ") for line in waits), "a slow host says so"
    assert_stays(relay, shards, calls)
    config.write_text("silent_s = 40\n")
    nh_ok(deployment.place, "upgrade")


def test_another_key_of_the_store_is_refused_and_everything_stays(
    deployment: Deployment, tmp_path: Path
) -> None:
    key, secret = tmp_path / "key", "0123456789abcdef" * 4
    key.touch(0o600)
    key.write_text(secret)
    settings = {"state": tmp_path / "state", "state_key_file": key}
    relay = deployment.start(state=settings["state"], state_key_file=key)
    calls, shards = deployment.make_calls(CALLS), shard_pids(relay)
    key.write_text(secret[::-1])
    why = (
        "environment: NH_STATE_KEY_FILE: the nh that runs encrypts its calls with another key, which the next"
        " one needs"
    )
    refused = nh_command(deployment.place, "upgrade")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1] == f"nh: everything stays as it is: {why}"
    successor = Relay(deployment.place, SHARDS, as_environment(settings), words=("--takeover",))
    with successor.program:
        assert successor.program.wait(MAX_S) == 2
        assert f"nh cannot start: {why}" in successor.program.output
    assert_stays(relay, shards, calls)
    key.write_text(secret)
    nh_ok(deployment.place, "upgrade")


def test_more_shards_than_there_are_ports_for_are_refused(deployment: Deployment) -> None:
    relay = deployment.start()
    shards = shard_pids(relay)
    result = nh_command(deployment.place, "shards", "256")
    assert result.exit_code == 1
    assert "everything stays as it is" in result.stderr
    assert "is too small for 256 shards" in result.stderr
    assert_stays(relay, shards, [])


@pytest.mark.full
def test_a_second_upgrade_at_the_same_time_is_refused(deployment: Deployment) -> None:
    relay = deployment.start()
    with pipelined(deployment.address) as connection:
        connection.send(native.encode_request(1, Upgrade()))
        connection.send(native.encode_request(2, Upgrade()))
        refused = connection.reply()
        assert b'"id":2' in refused
        assert b"no upgrade now: an upgrade has begun" in refused
        assert native.decode_reply(connection.reply(), Upgrading) == (1, Upgrading(nh.__version__))
    wait_until_upgraded(relay)


def test_there_is_nothing_to_upgrade_where_no_nh_runs(deployment: Deployment) -> None:
    for command in (["upgrade"], ["shards", "2"]):
        result = nh_command(deployment.place, *command)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("nh does not run")
