"""A full or read-only /dev/shm: nh says so when it starts, and does not mind when it runs."""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.exhaustion.new_calls import lines_with
from tests.supervisor.stores import occupy
from tools.harness.call import RelayedCall
from tools.harness.relay import Place, Relay, place_for_relay
from tools.harness.waiting import eventually

SIZE_BYTES = 65_536
OF_ITS_OWN = f"mount -t tmpfs -o size={SIZE_BYTES} nh-test /dev/shm"
AND_FULL = f"{OF_ITS_OWN} && head -c {SIZE_BYTES} /dev/zero > /dev/shm/filler"


@functools.cache
def cannot_mount() -> bool:
    command = ["unshare", "-m", "sh", "-c", OF_ITS_OWN]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode != 0
    except FileNotFoundError:
        return True


pytestmark = pytest.mark.skipif("cannot_mount()", reason="needs unshare(1), root and the right to mount")


def relay_at(place: Place, shm: str, run: str = 'exec "$@"') -> Relay:
    """A relay with a /dev/shm of its own, which goes with it; `shm` makes it, `run` runs the relay."""
    return Relay(place, 1, wrapped_in=("unshare", "-m", "sh", "-c", f"{shm} && {run}", "sh"))


def stats(relay: Relay) -> dict[str, int]:
    """What `nh stats` says within the relay's mount namespace."""
    command = ["nsenter", "-t", str(relay.program.pid), "-m", sys.executable, "-m", "nh", "stats", "--json"]
    command += ["--runtime-dir", str(relay.directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    totals: dict[str, int] = json.loads(done.stdout)["totals"]
    return totals


def test_nh_does_not_start_without_room_for_its_statistics_and_says_so() -> None:
    with place_for_relay() as place:
        full = relay_at(place, AND_FULL, '("$@"; status=$?; echo "left: "$(ls /dev/shm); exit $status)')
        with full.program as program:
            assert program.wait(60) == 1
            [line] = lines_with(full, "nh cannot start")
            assert "shared memory /dev/shm/nh-" in line
            assert "No space left on device" in line
            assert "bytes are needed: free some, or mount /dev/shm with a larger size=" in line
            assert lines_with(full, "left:") == ["left: filler"]
            assert "Traceback" not in program.output
        with relay_at(place, OF_ITS_OWN).program as program:
            program.wait_for_line("ready")
            assert program.stop() == 0


def test_nh_does_not_start_where_it_may_not_write_its_statistics_and_says_what_to_mount() -> None:
    with place_for_relay() as place, relay_at(place, f"{OF_ITS_OWN} -r").program as program:
        assert program.wait(60) == 1
        assert "Read-only file system; mount it so that nh can write there: mount -t tmpfs" in program.output


def test_a_dev_shm_that_fills_up_while_nh_runs_changes_nothing() -> None:
    with place_for_relay() as place:
        relay = relay_at(place, OF_ITS_OWN)
        with relay.program as program:
            relay.wait_until_ready()
            with RelayedCall(relay.unix_address) as one:
                one.talk()
                occupy(Path(f"/proc/{program.pid}/root/dev/shm"))
                one.talk()
                with RelayedCall(relay.unix_address) as other:
                    other.talk()
                    eventually(lambda: stats(relay)["packets_in"] == 12, "all is counted")
                    [shard] = relay.shard_processes()
                    shard.kill()
                    program.wait_for_line("has restored 2 calls")
                    one.talk()
                    other.talk()
            assert program.stop() == 0
            assert "Traceback" not in program.output


def test_an_upgrade_without_room_for_statistics_is_refused_and_everything_stays() -> None:
    with place_for_relay() as place:
        relay = relay_at(place, OF_ITS_OWN)
        with relay.program as program:
            relay.wait_until_ready()
            [shard] = relay.shard_processes()
            with RelayedCall(relay.unix_address) as call:
                filler = occupy(Path(f"/proc/{program.pid}/root/dev/shm"))
                psutil.Process(program.pid).send_signal(signal.SIGUSR2)
                line = program.wait_for_line("upgrade: everything stays as it is")
                assert "No space left on device" in line
                assert relay.shard_processes() == [shard]
                call.talk()
                filler.unlink()
                psutil.Process(program.pid).send_signal(signal.SIGUSR2)
                eventually(lambda: program.output.count("ready: ") == 2, "it is upgraded", 120.0)
                call.talk()
            assert program.stop() == 0
