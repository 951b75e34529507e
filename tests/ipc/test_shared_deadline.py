"""nh.ipc.shared_deadline: one word that a supervisor writes and shards read, beyond the end of either."""

import contextlib
import stat
import time
from pathlib import Path

import pytest

from nh.ipc.shared_deadline import NS, SharedDeadline, boottime


def test_what_one_writes_all_others_read(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with (
        contextlib.closing(SharedDeadline(path, writable=True)) as written,
        contextlib.closing(SharedDeadline(path)) as read,
    ):
        assert read.read_ns() == 0
        for at_ns in (1, 1 << 63, 0):
            written.write_ns(at_ns)
            assert read.read_ns() == at_ns


def test_the_next_supervisor_finds_the_deadline_and_extends_it_for_those_that_have_it_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lease"
    first = SharedDeadline(path, writable=True)
    first.write_ns(5)
    first.close()
    with (
        contextlib.closing(SharedDeadline(path)) as read,
        contextlib.closing(SharedDeadline(path, writable=True)) as second,
    ):
        assert read.read_ns() == second.read_ns() == 5
        second.write_ns(6)
        assert read.read_ns() == 6


def test_its_file_is_this_users_alone(tmp_path: Path) -> None:
    SharedDeadline(tmp_path / "lease", writable=True).close()
    assert stat.S_IMODE((tmp_path / "lease").stat().st_mode) == 0o600


def test_a_reader_of_a_file_that_is_missing_or_empty_learns_so(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with pytest.raises(FileNotFoundError):
        SharedDeadline(path)
    path.touch()
    with pytest.raises(OSError, match="is empty"):
        SharedDeadline(path)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lease").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        SharedDeadline(tmp_path / "lease", writable=True)
    assert not (tmp_path / "elsewhere").exists()


def test_its_clock_is_that_of_the_kernel() -> None:
    assert abs(boottime() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) / NS) < 1.0
