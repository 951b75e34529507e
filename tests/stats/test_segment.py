import errno
import mmap
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.errors import StatsUnavailable
from nh.stats import (
    MAX_SHARDS,
    Segment,
    ShardWriter,
    StatsReader,
    attach_segment,
    create_segment,
    inherit_segment,
    segment_name,
)
from tests.profiles import examples

NO_DESCRIPTOR = 1 << 30


def shm(name: str) -> Path:
    return Path("/dev/shm", name)


def test_the_name_is_that_of_the_directory_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert segment_name(tmp_path / "link") == segment_name(tmp_path / "a" / ".." / "a")
    assert segment_name(tmp_path) != segment_name(tmp_path / "a")


def test_only_its_owner_may_open_it(segment: Segment) -> None:
    assert stat.S_IMODE(shm(segment.name).stat().st_mode) == 0o600


@pytest.mark.parametrize("shards", [1, MAX_SHARDS])
def test_a_new_segment_reads_as_zero_everywhere(name: str, shards: int) -> None:
    made = create_segment(name, shards)
    attached = attach_segment(name)
    reading = StatsReader(attached).read()
    assert len(reading.shards) == shards
    assert reading.totals.packets_in == reading.totals.calls == 0
    assert reading.totals.heartbeat_age_s is None
    made.unlink()
    attached.close()
    made.close()


@pytest.mark.parametrize("shards", [0, MAX_SHARDS + 1])
def test_a_number_of_shards_out_of_range_is_refused(name: str, shards: int) -> None:
    with pytest.raises(ValueError, match=r"not in 1\.\.256"):
        create_segment(name, shards)


def test_there_is_no_block_for_a_shard_that_does_not_exist(segment: Segment) -> None:
    for shard in (-1, 3):
        with pytest.raises(IndexError, match=r"not in 0\.\.2"):
            segment.shard_block(shard)


def test_what_a_killed_run_left_is_replaced(name: str) -> None:
    left = create_segment(name, 2)
    writer = ShardWriter(left, 0)
    stats = writer.resume()
    stats.packets_in = 7
    writer.publish(stats)
    left.close()

    fresh = create_segment(name, 4)
    reading = StatsReader(fresh).read()
    assert (len(reading.shards), reading.totals.packets_in) == (4, 0)
    fresh.unlink()
    fresh.close()


def test_an_empty_leftover_is_replaced_too(name: str) -> None:
    shm(name).touch(mode=0o600)
    with pytest.raises(StatsUnavailable, match="nh is starting"):
        attach_segment(name)
    fresh = create_segment(name, 1)
    fresh.unlink()
    fresh.close()


def test_nothing_to_attach_to_is_an_error(name: str) -> None:
    with pytest.raises(StatsUnavailable, match="nh is not running there"):
        attach_segment(name)


def test_a_process_with_its_descriptor_has_a_segment_whose_file_was_removed(segment: Segment) -> None:
    assert not segment.removed
    shm(segment.name).unlink()
    assert segment.removed
    inherited = inherit_segment(segment.fd, segment.name)
    stats = ShardWriter(inherited, 1).resume()
    stats.packets_in = 7
    ShardWriter(inherited, 1).publish(stats)
    inherited.close()
    assert StatsReader(segment).read().shards[1].packets_in == 7


def test_a_descriptor_of_something_else_is_no_segment(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nothing")
    with (tmp_path / "file").open("r+b") as file, pytest.raises(StatsUnavailable, match="another version"):
        inherit_segment(file.fileno(), "nh-1")
    with pytest.raises(StatsUnavailable, match="nh-1 cannot be opened: Bad file descriptor"):
        inherit_segment(NO_DESCRIPTOR, "nh-1")


def test_a_segment_without_its_header_is_not_read(segment: Segment) -> None:
    with shm(segment.name).open("r+b") as file:
        file.write(b"\0" * 8)
    with pytest.raises(StatsUnavailable, match="incomplete"):
        attach_segment(segment.name)


def test_a_segment_with_the_header_of_another_version_is_not_called_damaged(segment: Segment) -> None:
    with shm(segment.name).open("r+b") as file:
        file.write(b"nh-stats")
    with pytest.raises(StatsUnavailable, match="another version of nh: run `nh upgrade`"):
        attach_segment(segment.name)


@given(garbage=st.binary(max_size=60), at=st.integers(8, 6000))
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_an_error_or_another_table(segment: Segment, garbage: bytes, at: int) -> None:
    whole = shm(segment.name).read_bytes()
    with shm(segment.name).open("r+b") as file:
        file.write((whole[:at] + garbage + whole[at + len(garbage) :])[: len(whole)])
    try:
        attached = attach_segment(segment.name)
        StatsReader(attached).read()
        attached.close()
    except StatsUnavailable as exc:
        assert "damaged" in str(exc) or "cannot be read" in str(exc)
    finally:
        shm(segment.name).write_bytes(whole)


def test_a_segment_that_is_too_short_is_not_read(segment: Segment) -> None:
    os.truncate(shm(segment.name), 200)
    with pytest.raises(StatsUnavailable, match="damaged"):
        attach_segment(segment.name)


def test_unlink_twice_is_no_error_and_a_closed_segment_says_so(name: str) -> None:
    made = create_segment(name, 1)
    made.unlink()
    made.unlink()
    made.close()
    made.close()
    with pytest.raises(ValueError, match="is closed"):
        made.supervisor_block()


READER = """
import sys
import psutil
from nh.stats import StatsReader, attach_segment
segment = attach_segment(sys.argv[1])
StatsReader(segment).read()
assert not psutil.Process().children(recursive=True)
segment.close()
"""


def test_a_reader_leaves_the_segment_alone_and_starts_no_process(segment: Segment) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, segment.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    attach_segment(segment.name).close()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_who_has_no_memory_to_map_a_segment_leaves_it_there(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shards that are started next need it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        with pytest.raises(StatsUnavailable, match="cannot be opened: Cannot allocate memory"):
            attach_segment(segment.name)
    attach_segment(segment.name).close()


def test_a_process_without_descriptors_is_told_which_limit_to_raise(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(
            StatsUnavailable, match="created: Too many open files; raise the limit on descriptors"
        ):
            create_segment(name, 1)
