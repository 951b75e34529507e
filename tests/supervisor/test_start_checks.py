"""`nh run --check` is as strict as the start, and leaves nothing behind."""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nh.config import Settings
from nh.config.sources import LoadedSettings, load_settings
from nh.errors import ConfigError, NhError, NotNow
from nh.fastpath.probe import Availability, Support
from nh.supervisor.host.locked_dir import runtime_dir
from nh.supervisor.host.port_claim import port_claim
from nh.supervisor.running_nh import RunningNh, find_running, running_pid
from nh.supervisor.settings_in_force import InForce, SettingsInForce, read_in_force
from nh.supervisor.start_checks import check_host, check_takeover
from nh.supervisor.store.open import state_key
from tools.harness.ports import claim_ports, min_max


@pytest.fixture
def base(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Settings with which a start would succeed."""
    with claim_ports(40) as ports:
        yield {"runtime_dir": str(tmp_path / "run"), "ports": min_max(ports), "state": "off", "shards": 2}


def settings_with(base: dict[str, object], **changes: object) -> Settings:
    return load_settings(flags=base | changes, environment={})


def check_start(settings: Settings) -> None:
    """Check a start with these settings, as `nh run --check` does."""
    check_host(settings, find_running(settings.runtime_path))


def filled_in(settings: Mapping[str, object], word: str, text: str) -> dict[str, object]:
    """Settings of a parameter of a test, in which a word stands for what only the test knows."""

    def fill(value: object) -> object:
        if isinstance(value, list):
            return [fill(each) for each in value]
        return value.replace(word, text) if isinstance(value, str) else value

    return {name: fill(value) for name, value in settings.items()}


def test_settings_that_can_be_used_pass_and_nothing_is_made(base: dict[str, object], tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    check_start(settings_with(base, ng=["127.0.0.1:0"], address="127.0.0.1", state=state, rpc=["[::1]:0"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"shards": 200}, ConfigError, "is too small for 200 shards"),
        ({"runtime_dir": "TMP/rnu/nh"}, ConfigError, "there is no directory .*/rnu; make it"),
        ({"runtime_dir": "TMP/file"}, ConfigError, "file exists and is not a directory"),
        ({"runtime_dir": "TMP/file/nh"}, ConfigError, "file is not a directory"),
        ({"runtime_dir": "TMP/open"}, ConfigError, "every user can write to .*open"),
        ({"runtime_dir": f"TMP/{'x' * 300}"}, ConfigError, "^runtime_dir: .* File name too long; choose"),
        ({"state": f"TMP/{'x' * 300}"}, ConfigError, "^state: .* File name too long; choose another"),
        ({"state": "TMP/satte/nh"}, ConfigError, "^state: .*there is no directory"),
        ({"state": "sqlite://TMP/open"}, ConfigError, "^state: every user can write"),
        ({"standby_for": ["a"]}, ConfigError, "^standby_for: follows calls on a server"),
        ({"standby": True}, ConfigError, "^standby: follows calls on a server"),
        ({"state": "another://host/x"}, ConfigError, "^state: there is no store for another://"),
        (
            {"state": "TMP/calls", "state_key_file": "TMP/nowhere"},
            ConfigError,
            "^state_key_file: .*nowhere cannot be read",
        ),
        (
            {"state": "TMP/calls", "state_key_file": "TMP/short"},
            ConfigError,
            "^state_key_file: .*fewer than 32 characters",
        ),
        ({"address": "203.0.113.9"}, NotNow, "^address: 203.0.113.9 is not on this host; "),
        ({"interface": ["a/203.0.113.9"]}, NotNow, "^interface: 203.0.113.9 is not on this host; "),
        ({"rpc": ["TMP/nowhere/rpc"]}, ConfigError, "there is no directory .*nowhere"),
        ({"rpc": ["TMP/file"]}, ConfigError, "the file is not a socket"),
        ({"rpc": ["TMP/taken"]}, NotNow, "listens on it"),
        ({"rpc": ["203.0.113.9:7"], "rpc_public": True}, NotNow, "this host does not have the address"),
        ({"rpc": ["nowhere.invalid:7"]}, NotNow, "cannot be resolved"),
        ({"rpc_group": "no such group", "rpc_mode": "0660"}, ConfigError, "this host has no group"),
    ],
)
def test_what_would_end_the_start_is_said(
    base: dict[str, object], tmp_path: Path, changes: dict[str, object], kind: type[NhError], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "short").touch(0o600)
    (tmp_path / "short").write_text("too short\n")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind(str(tmp_path / "taken"))
        taken.listen()
        with pytest.raises(kind, match=message):
            check_start(settings_with(base, **filled_in(changes, "TMP", str(tmp_path))))


def test_media_that_have_to_be_relayed_in_the_kernel_need_an_interface(
    base: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.fastpath.probe.probe", lambda: Support(Availability.AVAILABLE))
    check_start(settings_with(base, kernel="on", kernel_interface=["lo"]))
    check_start(settings_with(base, kernel="auto", kernel_interface=["nowhere0"]))
    with pytest.raises(NotNow, match=r"^kernel: .*: no interface that is up is called nowhere0; or use"):
        check_start(settings_with(base, kernel="on", kernel_interface=["nowhere0"]))


def test_a_group_that_nh_may_not_give_its_socket_to_is_said(
    base: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    own, other = os.getegid(), os.getegid() + 1
    check_start(settings_with(base, rpc_group=str(own), rpc_mode="0660"))
    with pytest.raises(ConfigError, match=rf"rpc_group: a socket cannot be given to group {other}: Oper"):
        check_start(settings_with(base, rpc_group=str(other), rpc_mode="0660"))


@pytest.mark.parametrize(
    ("state", "library", "extra"),
    [("valkey://127.0.0.1:1/0?prefix=x", "valkey", "valkey"), ("TMP/calls", "cryptography", "srtp")],
)
def test_an_extra_that_the_store_lacks_is_said(
    base: dict[str, object], monkeypatch: pytest.MonkeyPatch, state: str, library: str, extra: str
) -> None:
    key = Path(str(base["runtime_dir"])).with_name("key")
    key.touch(0o600)
    key.write_text("0123456789abcdef" * 2)
    state = state.replace("TMP", str(key.parent))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ConfigError, match=rf"needs the extra `{extra}`; in nh's repository: pip install '\.\[{extra}\]'"
    ):
        check_start(settings_with(base, state=state, state_key_file=str(key)))


def test_ports_of_another_relay_are_in_use(base: dict[str, object], tmp_path: Path) -> None:
    other = settings_with(base, runtime_dir=str(tmp_path / "other"))
    with port_claim(other), pytest.raises(NotNow, match=r"^ports: .*another nh"):
        check_start(settings_with(base))


def test_a_port_that_is_in_use_is_said_unless_nh_runs_there(base: dict[str, object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_with(base, rpc=[f"127.0.0.1:{taken.getsockname()[1]}"])
        with pytest.raises(NotNow, match="listens on it"):
            check_start(settings)
        with runtime_dir(settings.runtime_path):
            check_start(settings)


@pytest.mark.parametrize(
    ("running", "refused"),
    [
        ({}, True),
        ({"ng": ["127.0.0.1:PORT"]}, False),
        ({"http": ["127.0.0.2:PORT"]}, True),
        ({"http": ["0.0.0.0:PORT"], "http_public": True}, False),
        ({"http": ["localhost:PORT"]}, False),
        ({"http": ["[::]:PORT"], "http_public": True}, True),
        ({"ng": ["127.0.0.1:0"]}, False),
    ],
    ids=[
        "another program's",
        "its own",
        "another program's beside its own at another address",
        "its own at all addresses",
        "its own at a name",
        "another program's beside its own at all addresses of IPv6",
        "perhaps its own",
    ],
)
def test_a_port_is_tried_beside_an_nh_that_runs_with_others(
    base: dict[str, object], running: dict[str, object], refused: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        wanted = settings_with(base, ng=[f"127.0.0.1:{port}"], address="127.0.0.1")
        settings = settings_with(base, address="127.0.0.1", **filled_in(running, "PORT", port))
        loaded = LoadedSettings(settings, {})
        outcome = pytest.raises(NotNow, match="listens on it") if refused else contextlib.nullcontext()
        with runtime_dir(wanted.runtime_path), contextlib.closing(SettingsInForce(loaded, shards=2)), outcome:
            check_start(wanted)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"http": ["localhost:PORT"]}, r"^http: 127\.0\.0\.1:\d+ is an address of ng, too"),
        ({"rpc": ["localhost:PORT"]}, r"^ng: 127\.0\.0\.1:\d+ is an address of rpc, too"),
    ],
)
def test_a_name_beside_its_address_is_said_and_is_no_fault_at_another_port(
    base: dict[str, object], named: dict[str, object], message: str
) -> None:
    with claim_ports(4) as ports:
        one, other = (str(min(ports)), str(max(ports)))
        wanted = base | {"ng": [f"127.0.0.1:{one}"], "address": "127.0.0.1"}
        check_start(settings_with(wanted, **filled_in(named, "PORT", other)))
        with pytest.raises(NotNow, match=message):
            check_start(settings_with(wanted, **filled_in(named, "PORT", one)))


def test_an_nh_that_runs_is_found_by_its_lock(tmp_path: Path) -> None:
    assert running_pid(tmp_path / "missing") is None
    assert running_pid(tmp_path) is None
    with runtime_dir(tmp_path):
        assert running_pid(tmp_path) == os.getpid()
    assert running_pid(tmp_path) is None


@pytest.mark.parametrize("runs_with", ["the same key", "no key", "another key"])
@pytest.mark.parametrize("state", ["state", "another state"])
def test_who_takes_over_stored_calls_needs_their_key(
    base: dict[str, object], tmp_path: Path, runs_with: str, state: str
) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("0123456789abcdef" * 4)
    wanted = settings_with(base, state=str(tmp_path / "state"), state_key_file=str(key))
    running = settings_with(base, state=str(tmp_path / state))
    check = {"the same key": state_key(wanted).check, "no key": ""}.get(runs_with, "another")
    refused = (state, runs_with) == ("state", "another key")
    with runtime_dir(wanted.runtime_path):
        SettingsInForce(LoadedSettings(running, {}), shards=2, state_key=check)
        with pytest.raises(ConfigError, match="another key") if refused else contextlib.nullcontext():
            check_takeover(wanted, RunningNh(wanted.runtime_path))


def test_all_checks_judge_by_one_reading_of_what_the_running_nh_tells(
    base: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could change its settings between two checks, and each would see another nh."""
    readings: list[Path] = []

    def reading(runtime_path: Path) -> InForce | None:
        readings.append(runtime_path)
        return read_in_force(runtime_path)

    monkeypatch.setattr("nh.supervisor.running_nh.read_in_force", reading)
    wanted = settings_with(base, ng=["127.0.0.1:0"], http=["127.0.0.1:0"], address="127.0.0.1")
    with runtime_dir(wanted.runtime_path):
        SettingsInForce(LoadedSettings(wanted, {}), shards=2)
        running = find_running(wanted.runtime_path)
        assert running is not None
        check_host(wanted, running)
        check_takeover(wanted, running)
    assert readings == [wanted.runtime_path]
