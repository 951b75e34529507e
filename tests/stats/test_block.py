import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.stats.block import SharedBlock, block_bytes

PAYLOAD_BYTES = 100


def make_memory() -> bytearray:
    return bytearray(32 + block_bytes(PAYLOAD_BYTES) + 32)


def payload(value: int) -> bytes:
    return bytes([value]) * PAYLOAD_BYTES


def test_the_last_publication_is_read() -> None:
    memory = memoryview(make_memory())
    block = SharedBlock(memory, 32, PAYLOAD_BYTES)
    for sequence in range(5):
        block.write(sequence, payload(sequence))
        assert block.find_newest() == (sequence, payload(sequence))


def test_a_block_stays_within_its_bounds() -> None:
    memory = make_memory()
    block = SharedBlock(memoryview(memory), 32, PAYLOAD_BYTES)
    block.write(0, payload(0xFF))
    block.write(1, payload(0xFF))
    assert not any(memory[:32])
    assert not any(memory[-32:])


def test_nothing_is_found_where_nothing_was_written() -> None:
    assert SharedBlock(memoryview(make_memory()), 32, PAYLOAD_BYTES).find_newest() is None


@pytest.mark.parametrize("written", range(block_bytes(PAYLOAD_BYTES) // 2))
def test_a_half_written_slot_leaves_the_publication_before(written: int) -> None:
    whole, torn = make_memory(), make_memory()
    for memory in (whole, torn):
        block = SharedBlock(memoryview(memory), 32, PAYLOAD_BYTES)
        block.write(6, payload(6))
        block.write(7, payload(7))
    SharedBlock(memoryview(whole), 32, PAYLOAD_BYTES).write(8, payload(8))

    torn[32 : 32 + written] = whole[32 : 32 + written]  # slot 0 as a killed writer leaves it

    found = SharedBlock(memoryview(torn), 32, PAYLOAD_BYTES).find_newest()
    assert found == (7, payload(7)) or (torn == whole and found == (8, payload(8)))


@given(st.binary(min_size=block_bytes(PAYLOAD_BYTES), max_size=block_bytes(PAYLOAD_BYTES)))
def test_garbage_is_never_taken_for_a_publication(garbage: bytes) -> None:
    memory = make_memory()
    memory[32 : 32 + len(garbage)] = garbage
    found = SharedBlock(memoryview(memory), 32, PAYLOAD_BYTES).find_newest()
    if found is not None:  # hypothesis would have to hit a CRC-32
        body = found[0].to_bytes(8, "little") + found[1]
        assert zlib.crc32(body).to_bytes(4, "little") in garbage
