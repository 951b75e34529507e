"""What a killed program leaves is removed by a later one, and what lives stays."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nh.supervisor.host.locked_dir import LOCK_NAME
from tests.netns import needs_namespaces
from tools.harness.namespaces import remove_leftovers as remove_namespaces
from tools.harness.own_directory import PREFIX, own_directory, remove_leftovers

OWNER = """
import sys
from tools.harness.own_directory import own_directory
with own_directory() as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def owner(directory: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process that owns a directory, and the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_only_what_a_dead_owner_left_is_removed(tmp_path: Path) -> None:
    killed, left = owner(tmp_path)
    living, kept = owner(tmp_path)
    with killed, living:
        assert remove_leftovers(tmp_path, settled_s=0) == []
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert remove_leftovers(tmp_path) == [], "it is new"
        assert remove_leftovers(tmp_path, settled_s=0) == [left]
        assert list(tmp_path.iterdir()) == [kept]
        living.communicate()
    assert list(tmp_path.iterdir()) == []


def test_where_a_shard_still_listens_everything_stays(tmp_path: Path) -> None:
    directory = tmp_path / f"{PREFIX}x"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "shard-0.sock"))
        assert remove_leftovers(tmp_path, settled_s=0) == []
    assert remove_leftovers(tmp_path, settled_s=0) == [directory]


@pytest.mark.parametrize("named", [True, False], ids=["names it", "is in it"])
def test_what_another_program_still_uses_stays(tmp_path: Path, named: bool) -> None:
    directory = tmp_path / f"{PREFIX}x"
    directory.mkdir()
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    command += [f"--dir={directory}"] if named else []
    with subprocess.Popen(
        command, cwd="/" if named else directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        assert remove_leftovers(tmp_path, settled_s=0) == []
        program.communicate()
    assert remove_leftovers(tmp_path, settled_s=0) == [directory]


def test_a_process_that_only_has_the_number_of_a_relay_is_not_ended(tmp_path: Path) -> None:
    """A relay in a container has another number there, and the directory may be shared."""
    directory = tmp_path / f"{PREFIX}x"
    directory.mkdir()
    with subprocess.Popen(["sleep", "60"]) as stranger, (directory / LOCK_NAME).open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(stranger.pid))
        lock.flush()
        assert remove_leftovers(tmp_path, settled_s=0) == []
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.2)
        stranger.kill()


def test_the_directory_goes_with_its_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with own_directory() as path:
        (path / "state").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_the_namespace_of_a_dead_process_is_removed() -> None:
    needs_namespaces()
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    names = [f"nhtest-{dead.pid}-0", f"nhtest-{os.getpid()}-own"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        remove_namespaces()
        assert [Path("/run/netns", name).exists() for name in names] == [False, True]
    finally:
        subprocess.run(["ip", "netns", "delete", names[1]], check=True)


RELAY = """
import fcntl, os, signal, sys
lock = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, str(os.getpid()).encode())
print("ready", flush=True)
signal.pause()
"""


def test_a_relay_whose_owner_was_killed_is_ended_and_its_directory_goes_later(tmp_path: Path) -> None:
    directory = tmp_path / f"{PREFIX}x"
    directory.mkdir()
    command = [sys.executable, "-c", RELAY, str(directory / LOCK_NAME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"ready\n"
        assert remove_leftovers(tmp_path, settled_s=0) == []
        assert relay.wait(30) == -signal.SIGTERM
    assert remove_leftovers(tmp_path, settled_s=0) == [directory]
