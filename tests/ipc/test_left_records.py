"""nh.ipc.left_records: what a shard leaves behind is read once, and a damaged file costs no other."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.ipc.left_records import LeftRecord, leave_records, take_records


def test_what_was_left_is_read_once_without_what_came_before(tmp_path: Path) -> None:
    leave_records(tmp_path / "shard-0-aa.sock", [LeftRecord(1, b"one"), LeftRecord(2, b"two")])
    leave_records(tmp_path / "shard-1-bb.sock", [LeftRecord(1, b"three")])
    assert take_records(tmp_path, {"shard-0-aa": 1}) == ([b"two", b"three"], 0)
    assert take_records(tmp_path, {}) == ([], 0)
    assert list(tmp_path.iterdir()) == []


def test_only_the_user_reads_them(tmp_path: Path) -> None:
    leave_records(tmp_path / "shard-0-aa.sock", [LeftRecord(1, b"one")])
    assert (tmp_path / "shard-0-aa.records").stat().st_mode & 0o777 == 0o600


@given(st.binary(max_size=60).map(lambda data: b"\xc1" + data))
@example(b"\x91\x93\x01\xc4\x00" + b"\x91" * 5000)  # lists in lists, where a later nh may have a field
def test_a_damaged_file_is_counted_and_removed(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("runtime")
    (directory / "shard-0-aa.records").write_bytes(data)
    leave_records(directory / "shard-1-bb.sock", [LeftRecord(1, b"good")])
    assert take_records(directory, {}) == ([b"good"], 1)
    assert list(directory.iterdir()) == []
