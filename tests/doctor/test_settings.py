"""nh doctor beside a running nh: it judges by the settings of that, and says where others were meant."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nh.config import Settings
from nh.config.sources import COMMAND_LINE, SECRET, LoadedSettings, read_settings
from nh.doctor.doctor import CHECKS, examine
from nh.doctor.findings import Finding, Status
from nh.doctor.patient import find_patient
from nh.errors import NotNow
from nh.supervisor.host.locked_dir import LOCK_NAME, runtime_dir
from nh.supervisor.settings_in_force import NAME, SettingsInForce, addresses_in_force, read_in_force

Runs = Callable[..., None]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def runs(directory: Path) -> Iterator[Runs]:
    """Has an nh run with some settings: the lock of its directory is held, and it tells them."""
    with runtime_dir(directory):

        def run(file: Path | None = None, **flags: Any) -> None:
            SettingsInForce(read_given(directory, file, **flags), shards=3)

        yield run


def read_given(directory: Path, file: Path | None = None, **flags: Any) -> LoadedSettings:
    return read_settings(
        flags={"runtime_dir": str(directory), "state": "off", **flags}, environment={}, file=file
    )


def examined(directory: Path, check: str = "settings", **flags: Any) -> list[Finding]:
    patient = find_patient(read_given(directory, **flags), lambda file: read_given(directory, file, **flags))
    return list(examine(patient, {check: CHECKS[check]}))


def test_what_the_running_nh_uses_is_said(directory: Path, runs: Runs) -> None:
    runs(
        max_calls=500, ports="20000-20099", rpc=["/run/x/nh.sock"], ng=["127.0.0.1:2223"], address="127.0.0.1"
    )
    used, differs = examined(directory)
    assert used.status is Status.OK
    assert used.found == (
        "in force: 3 shards; ports 20000-20099; rpc /run/x/nh.sock; ng 127.0.0.1:2223; max_calls 500"
    )
    assert differs.status is Status.OK, "flags of nh run are no fault of the host"
    assert "max_calls = 500 (command line), here 0 (default)" in differs.found


def test_the_other_checks_judge_by_the_settings_of_the_running_nh(directory: Path, runs: Runs) -> None:
    runs(address="192.0.2.1")
    (found,) = examined(directory, "nat")
    assert (
        found.found == "192.0.2.1 is an address for documentation (RFC 5737, RFC 3849, RFC 9637)"
        " and is announced as it is"
    )


def test_shards_are_those_that_run_though_the_setting_says_one_for_each_cpu(
    directory: Path, runs: Runs
) -> None:
    runs()
    patient = find_patient(read_given(directory), lambda file: read_given(directory, file))
    assert patient.shards == 3


@pytest.mark.parametrize(
    ("changed", "remedy"), [("max_calls = 6", "`nh reload`"), ("kernel = 'off'", "`nh upgrade`")]
)
def test_a_file_that_has_changed_since_is_a_change_to_bring_into_force(
    directory: Path, runs: Runs, tmp_path: Path, changed: str, remedy: str
) -> None:
    file = tmp_path / "nh.toml"
    file.write_text("max_calls = 5\n")
    runs(file)
    assert [each.status for each in examined(directory)] == [Status.OK]
    file.write_text(f"\n{changed}\n")
    found = [each for each in examined(directory) if each.status is not Status.OK]
    assert any(
        each.meaning == "the change is not in force" and each.remedy.startswith(remedy) for each in found
    )
    assert any(f"({file}:2) here" in each.found for each in found)


@pytest.mark.usefixtures("runs")
def test_a_file_that_names_another_runtime_directory_since_needs_a_restart(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nh that runs was found in the default directory, and its file is read."""
    file = tmp_path / "nh.toml"
    judged: list[object] = []
    monkeypatch.setattr("nh.doctor.settings.check_host", lambda _settings, running: judged.append(running))

    def reread(file: Path) -> LoadedSettings:
        return read_settings(flags={"state": "off"}, environment={}, file=file)

    file.write_text(f"runtime_dir = '{directory}'\n")
    SettingsInForce(reread(file), shards=1)
    file.write_text(f"runtime_dir = '{tmp_path / 'other'}'\n")
    patient = find_patient(read_given(directory), reread)
    assert patient.settings.runtime_path == directory
    found = list(examine(patient, {"settings": CHECKS["settings"]}))
    assert any(each.remedy == "a restart of nh brings it into force" for each in found)
    assert patient.running is not None
    assert judged == [patient.running], "its addresses and ports are no fault of the settings"


def test_a_file_with_which_nh_could_not_start_again_is_a_failure(
    directory: Path, runs: Runs, tmp_path: Path
) -> None:
    file = tmp_path / "nh.toml"
    file.write_text("")
    runs(file)
    file.write_text("shards = 200\nports = '20000-20099'")
    assert examined(directory)[-1].status is Status.FAILURE


def test_a_fault_of_a_line_that_the_file_no_longer_has_is_not_said_of_that_line(
    directory: Path, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default that came in the place of the line has the fault."""
    file = tmp_path / "nh.toml"
    file.write_text("ports = '40000-40099'")
    runs(file)
    file.write_text("")

    def fail(settings: Settings, running: object) -> None:
        raise NotNow(f"ports: another nh has {settings.ports}")

    monkeypatch.setattr("nh.doctor.settings.check_host", fail)
    found = examined(directory)[-1]
    assert found.status is Status.FAILURE
    assert found.found == f"ports: another nh has {Settings().ports}"


def test_a_flag_of_the_doctor_that_the_running_nh_has_not_is_pointed_out(directory: Path, runs: Runs) -> None:
    runs()
    _, found = examined(directory, max_calls=7)
    assert found.status is Status.WARNING
    assert found.found == "max_calls = 0 (default) in the nh that runs, and 7 (command line) here"


@pytest.mark.parametrize(
    ("is_hidden", "said"),
    [
        (False, "no nh runs: the checks judge by the settings given"),
        (True, "an nh that runs tells its settings to its user and root: the checks judge by those given"),
    ],
)
def test_where_no_nh_tells_its_settings_the_doctor_says_whether_it_was_told_a_file(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, *, is_hidden: bool
) -> None:
    """Beside a unit with a file of its own, `nh doctor` alone finds the defaults well."""
    monkeypatch.setattr("nh.doctor.patient.lock_is_hidden", lambda _: is_hidden)
    config = tmp_path / "nh.toml"
    config.write_text("max_calls = 7\n")
    for file, named in ((None, "without a file (--config, NH_CONFIG)"), (config, f"with {config}")):
        patient = find_patient(read_given(directory, file), lambda other: read_given(directory, other))
        (found,) = examine(patient, {"settings": CHECKS["settings"]})
        assert found.found == f"{said}, {named}"


def test_an_nh_that_tells_no_settings_is_judged_by_those_given(directory: Path, runs: Runs) -> None:
    (found,) = examined(directory, address="127.0.0.1")
    assert found.status is Status.WARNING
    assert found.remedy == "give nh doctor the flags, environment and file of nh run"


def test_settings_of_a_start_before_are_none_of_the_nh_that_runs(directory: Path, runs: Runs) -> None:
    runs(max_calls=500)
    os.utime(
        directory / NAME, (time.time() - 60, time.time() - 60)
    )  # as if the next start had not written it
    assert read_in_force(directory) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"shards": 1}', b"\xff", b'{"shards":1,"file":"","origins":{},"settings":{"ports":1}}'],
)
def test_a_file_that_is_none_changes_nothing(directory: Path, runs: Runs, content: bytes) -> None:
    (directory / NAME).write_bytes(content)
    assert examined(directory)[0].status is Status.WARNING
    assert addresses_in_force(directory, "rpc") == ()


def test_passwords_are_not_told_and_a_store_with_one_is_not_asked_with_another(
    directory: Path, runs: Runs
) -> None:
    runs_with = read_settings(
        flags={"runtime_dir": str(directory)}, environment={"NH_STATE": "valkey://:hidden@127.0.0.1:1/0"}
    )
    SettingsInForce(runs_with, shards=1)
    assert b"hidden" not in (directory / NAME).read_bytes()
    assert SECRET.encode() in (directory / NAME).read_bytes()
    assert (directory / NAME).stat().st_mode & 0o777 == 0o600
    (found,) = examined(directory, "store_server")
    assert found.status is Status.WARNING
    assert "has a password" in found.found


def test_the_file_ends_with_nh(directory: Path) -> None:
    with runtime_dir(directory):
        SettingsInForce(read_given(directory), shards=1).close()
    assert {each.name for each in directory.iterdir()} == {LOCK_NAME}


def test_origins_are_told(directory: Path, runs: Runs) -> None:
    runs(max_calls=5)
    told = read_in_force(directory)
    assert told is not None
    assert told.origins["max_calls"] == COMMAND_LINE
    assert msgspec.json.decode((directory / NAME).read_bytes())["shards"] == 3


def test_settings_that_cannot_be_told_leave_no_file_behind(directory: Path, runs: Runs) -> None:
    directory.mkdir(exist_ok=True)
    (directory / NAME).mkdir()
    runs()
    assert sorted(path.name for path in directory.iterdir()) == [LOCK_NAME, NAME]
