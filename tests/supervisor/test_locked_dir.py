"""nh.supervisor.host.locked_dir: one nh at a time, in a directory that no other user can write to."""

import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from nh.errors import ConfigError, DirectoryInUse
from nh.supervisor.host.locked_dir import LOCK_NAME, renew_lock, runtime_dir


def test_it_is_made_for_its_owner_alone_and_holds_the_pid(tmp_path: Path) -> None:
    path = tmp_path / "a" / "nh"
    with runtime_dir(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert (path / LOCK_NAME).read_text() == ""


def test_a_second_nh_is_refused_and_told_the_pid_of_the_first(
    tmp_path: Path, no_descriptor_leaks: None
) -> None:
    with (
        runtime_dir(tmp_path),
        pytest.raises(DirectoryInUse, match=rf"another nh \(pid {os.getpid()}\)"),
        runtime_dir(tmp_path),
    ):
        pass
    with runtime_dir(tmp_path):
        pass


def test_one_who_just_looks_whether_an_nh_runs_keeps_none_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "nh"
    with runtime_dir(directory):
        pass
    looking = os.open(directory / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(
        "nh.supervisor.host.locked_dir.time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN)
    )
    with runtime_dir(directory):
        pass
    os.close(looking)


def test_a_lock_file_that_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()}1\n")
    with runtime_dir(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_whose_lock_file_was_removed_is_locked_again(
    tmp_path: Path, replace: bool, caplog: pytest.LogCaptureFixture, no_descriptor_leaks: None
) -> None:
    path = tmp_path / LOCK_NAME
    with runtime_dir(tmp_path) as lock:
        assert not renew_lock(lock)
        path.unlink()
        if replace:
            path.write_text("what is this?")
        assert renew_lock(lock)
        assert not renew_lock(lock)
        assert "another program removed or replaced the file" in caplog.text
        with pytest.raises(DirectoryInUse, match=rf"another nh \(pid {os.getpid()}\)"), runtime_dir(tmp_path):
            pass
    with runtime_dir(tmp_path):
        pass


def test_a_directory_that_was_removed_as_a_whole_is_made_anew_and_locked(tmp_path: Path) -> None:
    path = tmp_path / "nh"
    with runtime_dir(path) as lock:
        assert lock.has_name
        shutil.rmtree(path)
        assert not lock.has_name
        assert renew_lock(lock)
        assert lock.has_name
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with pytest.raises(DirectoryInUse), runtime_dir(path):
            pass


def test_a_lock_that_another_nh_has_meanwhile_is_not_taken_from_it(tmp_path: Path) -> None:
    with runtime_dir(tmp_path) as lock:
        lock.path.unlink()
        with runtime_dir(tmp_path):
            assert not renew_lock(lock)
        assert renew_lock(lock)


def test_a_filter_that_refuses_to_ask_for_the_effective_user_keeps_no_directory_from_nh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a container runtime that does not know faccessat2(2)."""
    access = os.access

    def filtered(path: Path, mode: int, *, effective_ids: bool = False) -> bool:
        return not effective_ids and access(path, mode)

    monkeypatch.setattr(os, "access", filtered)
    with runtime_dir(tmp_path / "nh"):
        assert (tmp_path / "nh" / LOCK_NAME).exists()


def test_a_directory_that_every_user_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod o-w"), runtime_dir(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused_where_every_user_makes_names(tmp_path: Path) -> None:
    path = tmp_path / "nh"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)
    with runtime_dir(path):  # tmp_path is ours alone, so a process with the right to must have made it
        pass
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="belongs to user 12345"), runtime_dir(path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("linked", [False, True], ids=["directory", "link"])
def test_a_directory_below_another_users_name_is_refused_where_every_user_makes_names(
    tmp_path: Path, linked: bool
) -> None:
    theirs = tmp_path / "theirs"
    if linked:
        (tmp_path / "ours" / "nh").mkdir(parents=True)
        theirs.symlink_to(tmp_path / "ours")
    else:
        (theirs / "nh").mkdir(parents=True)
    os.lchown(theirs, 12345, -1)
    with runtime_dir(theirs / "nh"):
        pass
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="theirs belongs to user 12345"), runtime_dir(theirs / "nh"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_another_users_link_is_refused_where_every_user_makes_names(tmp_path: Path) -> None:
    ours, link = tmp_path / "ours", tmp_path / "nh"
    ours.mkdir(mode=0o700)
    link.symlink_to(ours)
    os.lchown(link, 12345, -1)
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="belongs to user 12345"), runtime_dir(link):
        pass


def test_a_group_may_not_write_to_it_where_every_user_makes_names(tmp_path: Path) -> None:
    path = tmp_path / "nh"
    path.mkdir()
    path.chmod(0o770)
    with runtime_dir(path):
        pass
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="chmod 700"), runtime_dir(path):
        pass


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nh"
    path.touch()
    with pytest.raises(ConfigError, match="is not a directory"), runtime_dir(path):
        pass


def test_a_place_where_it_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"cannot be made.*--runtime-dir"),
        runtime_dir(tmp_path / "file" / "nh"),
    ):
        pass
