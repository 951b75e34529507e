"""Records of calls over whole relays: exactly one for each call, whatever happens to processes meanwhile."""

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import ListEnded, ShowEnded
from nh.errors import Unavailable
from tools.harness.deployment import Deployment, deployed_relay, has_ended, relay_of_calls_that_expire
from tools.harness.waiting import TIMEOUT_S, eventually


class Records:
    """The file that a deployment writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[dict[str, object]]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def wait_for(self, calls: dict[bytes, str]) -> None:
        """Wait for the records of all these calls, and compare the reasons; no call may have two."""
        names = {call_id.decode() for call_id in calls}
        eventually(lambda: names <= {str(each["call_id"]) for each in self.all()}, f"records of {names}")
        assert {str(each["call_id"]): each["reason"] for each in self.all()} == {
            call_id.decode(): reason for call_id, reason in calls.items()
        }
        assert set(Counter(str(each["call_id"]) for each in self.all()).values()) == {1}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "calls.json")


@pytest.fixture
def deployment(records: Records) -> Iterator[Deployment]:
    with deployed_relay(records=str(records.path), silent_s=3600) as deployment:
        yield deployment


def kill_shards(deployment: Deployment) -> None:
    """Kill every shard, and wait until the next ones serve."""
    before = [deployment.relay.shard_pid(shard) for shard in range(2)]
    assert all(before), "not every shard is up"
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def served_by_others() -> bool:
        if any(each.pid in before for each in deployment.relay.stats().shards):
            return False
        with contextlib.suppress(Unavailable):
            return bool(deployment.relay.calls().calls)
        return False

    eventually(served_by_others, "the next shards serve")


def test_calls_have_one_record_each_over_a_kill_an_upgrade_and_a_takeover(
    deployment: Deployment, records: Records
) -> None:
    deployment.start()
    calls = deployment.make_calls(4)
    told = {}
    calls[0].end()
    told[calls[0].call_id] = "closed"
    kill_shards(deployment)
    calls[1].close_by_operator()
    told[calls[1].call_id] = "closed"
    deployment.nh("upgrade")
    calls[2].talk()
    calls[2].end()
    told[calls[2].call_id] = "closed"
    records.wait_for(told)
    deployment.take_over()
    calls[3].end()
    told[calls[3].call_id] = "closed"
    records.wait_for(told)
    by_name = {str(each["call_id"]): each for each in records.all()}
    assert by_name[calls[1].call_id.decode()]["packets"] == 4
    events = by_name[calls[3].call_id.decode()]["events"]
    assert isinstance(events, list)
    assert [each["event"] for each in events].count("restored") == 3
    eventually(lambda: deployment.stats().supervisor.records_written == 4, "four are counted")
    assert deployment.stats().supervisor.records_lost == 0


def test_calls_that_end_without_a_supervisor_have_records_when_the_next_one_comes(
    records: Records, tmp_path: Path
) -> None:
    file = tmp_path / "nh.toml"
    with relay_of_calls_that_expire(file, records=str(records.path), shards=1) as deployment:
        deployment.start()
        deployment.make_call(b"ended").end()
        records.wait_for({b"ended": "closed"})
        deployment.make_call(b"silent")
        (shard,) = deployment.kill_supervisor_as_calls_expire()
        assert _names(records, b"silent") == []
        shard.resume()
        eventually(lambda: has_ended(shard), "the shard ends behind its last call", 60)
        deployment.start()
        # the killed supervisor may not have confirmed the first one: then that comes again
        names = eventually(lambda: _names(records, b"silent"), "the record of the silent call")
        assert names.count("silent") == 1
        assert {str(each["reason"]) for each in records.all()} == {"closed", "expired"}
        assert list(deployment.place.directory.glob("*.records")) == []


def _names(records: Records, wanted: bytes) -> list[str]:
    """The call-ids of all records, if `wanted` is among them."""
    names = [str(each["call_id"]) for each in records.all()]
    return names if wanted.decode() in names else []


def test_an_orderly_end_without_a_store_ends_calls_and_a_moved_file_is_left_alone(
    deployment: Deployment, records: Records
) -> None:
    deployment.start("--no-state")
    calls = deployment.make_calls(3)
    calls[0].end()
    records.wait_for({calls[0].call_id: "closed"})
    moved = Records(records.path.rename(records.path.with_suffix(".1")))
    os.kill(deployment.relay.program.pid, signal.SIGHUP)
    deployment.relay.program.wait_for_line("reload: nothing to apply")
    assert deployment.stop() == 0
    records.wait_for({call.call_id: "shutdown" for call in calls[1:]})
    moved.wait_for({calls[0].call_id: "closed"})


def test_a_call_in_the_store_goes_on_after_a_restart_and_has_its_record_then(
    records: Records, tmp_path: Path
) -> None:
    state = str(tmp_path / "state")
    with deployed_relay(records=str(records.path), state=state, silent_s=3600, shards=1) as deployment:
        deployment.start()
        call = deployment.make_call(b"stored")
        assert deployment.stop() == 0
        assert records.all() == []
        deployment.start()
        call.end()
        records.wait_for({b"stored": "closed"})


def test_the_history_answers_after_the_call(deployment: Deployment) -> None:
    deployment.start()
    call = deployment.make_call(b"past")
    call.end()
    with NativeClient(deployment.address, TIMEOUT_S) as client:
        record = client.request(ShowEnded(b"past"))
        listed = client.request(ListEnded()).calls
    assert [each.call_id for each in listed] == [b"past"]
    assert (record.reason, record.packets) == ("closed", 4)
    assert record.client.protocol == "native"
    assert record.ended_by is not None
    assert record.ended_by.address.startswith("pid ")


def test_a_full_disk_costs_records_and_nothing_else(deployment: Deployment) -> None:
    deployment.start("--records", "/dev/full")
    for call in deployment.make_calls(4):
        call.talk()
        call.end()
    eventually(lambda: deployment.stats().supervisor.records_lost == 4, "four records are lost")
    later = deployment.make_call(b"later")
    later.talk()
