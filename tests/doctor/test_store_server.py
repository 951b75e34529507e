"""`nh doctor` on the server of the store: real servers, with the faults that they can have."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from nh.config import Settings
from nh.doctor.doctor import CHECKS, examine
from nh.doctor.findings import Finding, Status
from nh.doctor.host import Host
from nh.doctor.patient import Patient
from nh.supervisor.store.open import open_store
from tools.harness.ports import free_port
from tools.harness.valkey_server import valkey_server

pytestmark = pytest.mark.valkey


def findings(state: str, **others: object) -> list[Finding]:
    settings = Settings(runtime_dir="/run/test", state=state, **others)  # type: ignore[arg-type]
    return list(examine(Patient(Host(), settings, None), {"store_server": CHECKS["store_server"]}))


def test_a_sound_server_and_no_server_have_no_fault(tmp_path: Path) -> None:
    assert [each.status for each in findings(str(tmp_path))] == [Status.OK]
    with valkey_server({"appendonly": "yes"}) as server:
        (finding,) = findings(server.url)
    assert finding.status is Status.OK
    assert "answers within" in finding.found


def test_each_fault_of_a_server_is_found_with_its_remedy() -> None:
    options = {
        "maxmemory": "100mb",
        "maxmemory-policy": "allkeys-lru",
        "replicaof": f"127.0.0.1 {free_port()}",
    }
    with valkey_server(options) as server:
        found = {each.found: each for each in findings(server.url)}
        assert list(found) == [
            "the server of the store is a read-only replica",
            "the server of the store has maxmemory-policy allkeys-lru",
            "the server of the store has neither appendonly nor a replica",
        ]
        assert all(each.meaning and each.remedy for each in found.values())
        (finding,) = findings(f"valkey://:open-sesame@{server.host}:{server.port}/0")
        assert (finding.status, finding.meaning) == (Status.FAILURE, "nh does not start")
        assert "open-sesame" not in repr(finding)
    (finding,) = findings(server.url)
    assert finding.status is Status.WARNING
    assert "there is no connection to the server (Error 111 connecting" in finding.found
    (finding,) = findings(f"{server.url}/0?colour=red")
    assert "'colour' is no option" in finding.found


def test_a_standby_is_told_what_keeps_it_from_the_calls(tmp_path: Path) -> None:
    keys = {name: tmp_path / name for name in ("one", "two")}
    for name, path in keys.items():
        path.write_text(name * 16)
        path.chmod(0o600)
    with valkey_server({"appendonly": "yes"}) as server:
        state = f"{server.url}/0?prefix=pair-1"
        settings = Settings(state=state, runtime_dir=str(tmp_path), state_key_file=str(keys["one"]))
        with open_store(settings):
            for key, meanings in (("one", [""]), ("two", ["this relay cannot take them over"])):
                found = findings(state, standby_for=("pair-1",), state_key_file=str(keys[key]))
                assert [each.meaning for each in found] == meanings
            (finding,) = findings(f"{server.url}/0?prefix=pool", standby_for=("pair-1",))
            assert finding.found.startswith("pair-1: its calls are encrypted")
            assert finding.remedy == "name the key with --state-key-file"
        refused = f"valkey://:wrong@{server.host}:{server.port}/0"
        (finding,) = findings(refused, standby=True)
        assert finding.meaning.startswith("a standby follows no calls")
    (finding,) = findings(server.url, standby=True)
    assert finding.meaning.startswith("a standby follows no calls")


def test_a_user_without_a_right_is_told_which_and_whether_nh_starts() -> None:
    with valkey_server({"appendonly": "yes"}) as server, server.client() as client:
        rights = ("on", ">open-sesame", "~*", "+ping", "+hget", "+hlen")
        client.execute_command("ACL", "SETUSER", "nh", *rights)
        url = f"valkey://nh:open-sesame@{server.host}:{server.port}/0"
        (finding,) = findings(url)
        assert finding.status is Status.WARNING
        assert "its ACL refuses INFO" in finding.found
        client.execute_command("ACL", "SETUSER", "nh", "-hlen")
        (finding,) = findings(url)
        assert (finding.status, finding.meaning) == (Status.FAILURE, "nh does not start")
        assert "'hlen'" in finding.found
        assert finding.remedy == "permit all that docs/reference/store-server.md lists"


def test_a_slow_server_is_asked_once_for_all_that_the_check_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it has answered before the check is given up, whatever it takes for a reply."""
    monkeypatch.setattr("nh.supervisor.store.valkey.facts._REPLIES_S", 0.0)
    monkeypatch.setattr("nh.doctor.store_server.SLOW_S", 0.0)
    names = tuple(f"pair-{number}" for number in range(64))
    with valkey_server({"appendonly": "yes"}) as server:
        requests = requests_to(server.port, monkeypatch)
        (finding,) = findings(f"{server.url}/0?prefix=pool", standby_for=names)
    assert finding.found.startswith("the server of the store answers after ")
    assert len(requests) == 1


def requests_to(port: int, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The requests that clients of the server with this port send from now on."""
    from valkey.connection import Connection  # noqa: PLC0415  needs the extra valkey

    sent: list[object] = []
    send = Connection.send_packed_command

    def counting(self: Connection, command: Iterable[bytes], check_health: bool = True) -> None:
        if self.port == port:
            sent.append(command)
        send(self, command, check_health)

    monkeypatch.setattr(Connection, "send_packed_command", counting)
    return sent
