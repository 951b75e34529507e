"""The kernel's maps and programs through bpf(2)."""

import errno
import os
import struct
from collections.abc import Iterator

import pytest

from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import bpf
from tests.fastpath.packet_run import run_on_packet

pytestmark = pytest.mark.kernel

EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)
RETURN_7 = struct.pack("<BBhi", 0xB7, 0, 0, 7) + EXIT


@pytest.fixture
def table() -> Iterator[int]:
    """A hash map of two elements: 4 bytes to 8."""
    fd = bpf.create_map(bpf.MapKind.HASH, "a_table", key_bytes=4, value_bytes=8, max_entries=2)
    yield fd
    os.close(fd)


def test_what_is_written_to_a_map_is_read_until_it_is_deleted(table: int) -> None:
    bpf.update(table, b"key1", b"value..1")
    assert bpf.lookup(table, b"key1", 8) == b"value..1"
    assert bpf.delete(table, b"key1")
    assert bpf.lookup(table, b"key1", 8) is None
    assert not bpf.delete(table, b"key1")


def test_keys_with_zero_bytes_are_whole(table: int) -> None:
    bpf.update(table, b"\0\0\0\1", bytes(8))
    assert bpf.lookup(table, b"\0\0\0\2", 8) is None
    assert bpf.lookup(table, b"\0\0\0\1", 8) == bytes(8)


def test_a_map_is_walked(table: int) -> None:
    assert list(bpf.elements(table, 4, 8)) == []
    held = {b"key1": bytes(8), b"key2": b"\1" * 8}
    for key, value in held.items():
        bpf.update(table, key, value)
    assert dict(bpf.elements(table, 4, 8)) == held


@pytest.mark.parametrize("batch", [64, 4096])
def test_a_map_of_many_elements_is_walked_in_batches(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(bpf, "_BATCH", batch)
    held = {number.to_bytes(4, "big"): number.to_bytes(8, "big") for number in range(1000)}
    many = bpf.create_map(bpf.MapKind.HASH, "many", key_bytes=4, value_bytes=8, max_entries=len(held))
    try:
        for key, value in held.items():
            bpf.update(many, key, value)
        walked = list(bpf.elements(many, 4, 8))
        assert (len(walked), dict(walked)) == (len(held), held)
        for key, _ in bpf.elements(many, 4, 8):  # each may be deleted while the walk goes on
            bpf.delete(many, key)
        assert list(bpf.elements(many, 4, 8)) == []
    finally:
        os.close(many)


def test_a_full_map_says_so(table: int) -> None:
    for key in (b"key1", b"key2"):
        bpf.update(table, key, bytes(8))
    with pytest.raises(KernelTableFull, match="full"):
        bpf.update(table, b"key3", bytes(8))
    bpf.update(table, b"key1", b"replaced")


def test_an_element_may_have_to_be_new_or_to_be_there(table: int) -> None:
    with pytest.raises(KernelPathUnavailable, match="ENOENT"):
        bpf.update(table, b"key1", bytes(8), bpf.UpdateMode.REPLACE)
    bpf.update(table, b"key1", bytes(8), bpf.UpdateMode.NEW)
    with pytest.raises(KernelPathUnavailable, match="EEXIST"):
        bpf.update(table, b"key1", bytes(8), bpf.UpdateMode.NEW)


def test_an_impossible_map_is_refused_with_its_name_and_the_kernels_reason() -> None:
    with pytest.raises(KernelPathUnavailable, match=r"creating the map wrong: .*EINVAL") as refusal:
        bpf.create_map(bpf.MapKind.HASH, "wrong", key_bytes=0, value_bytes=8, max_entries=2)
    assert refusal.value.errno == errno.EINVAL


def test_a_wrong_descriptor_is_no_missing_element() -> None:
    with pytest.raises(KernelPathUnavailable) as refusal:
        bpf.lookup(99_999, b"key1", 8)
    assert refusal.value.errno == errno.EBADF


def test_descriptors_are_not_inherited(table: int) -> None:
    assert not os.get_inheritable(table)


def test_a_program_runs_on_a_packet() -> None:
    program = bpf.load_program("seven", RETURN_7, "MIT")
    frame = bytes(12) + b"\x08\x00" + bytes(50)
    run = run_on_packet(program, frame, repeat=10)
    assert (run.verdict, run.packet) == (7, frame)
    os.close(program)


def test_the_verifiers_words_are_in_the_error() -> None:
    with pytest.raises(KernelPathUnavailable, match=r"(?s)loading the program bad: .*R0 !read_ok") as refusal:
        bpf.load_program("bad", EXIT, "MIT")
    assert refusal.value.errno == errno.EACCES


def test_a_program_is_not_attached_to_an_interface_that_is_not_there() -> None:
    program = bpf.load_program("seven", RETURN_7, "MIT")
    with pytest.raises(KernelPathUnavailable, match="attaching to interface 99999"):
        bpf.attach_tcx(program, 99999)
    os.close(program)
