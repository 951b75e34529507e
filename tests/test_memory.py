"""nh.memory: what is free in the heap goes back to the system, wherever it lies."""

from pathlib import Path

import psutil
import pytest

from nh.memory import give_back_free_pages, grown_bytes
from nh.shard.observers import heap_trim
from nh.shard.observers.heap_trim import MAX_GROWN_BYTES, TRIM_S, HeapTrim

BLOCK_BYTES = 1000  # of malloc(3): Python itself has what is smaller than 512
FREE_BYTES = 64 << 20
MAX_BYTES = 1 << 30


@pytest.mark.skipif(not Path("/proc/self/maps").read_text().count("libc.so.6"), reason="needs glibc")
def test_free_room_below_memory_in_use_goes_back() -> None:
    grown_before = grown_bytes()
    blocks: list[bytes] = []
    while grown_bytes() - grown_before < FREE_BYTES:  # room that other tests have left is filled first
        blocks += [bytes(BLOCK_BYTES) for _ in range(1000)]
        assert len(blocks) * BLOCK_BYTES < MAX_BYTES
    last = blocks[-1]
    del blocks
    before = psutil.Process().memory_info().rss
    give_back_free_pages()
    assert before - psutil.Process().memory_info().rss > FREE_BYTES / 2
    assert len(last) == BLOCK_BYTES


def test_a_shard_gives_back_at_its_first_turn_and_then_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    now = 1000.0
    monkeypatch.setattr(heap_trim, "give_back_free_pages", lambda: times.append(now))
    monkeypatch.setattr(heap_trim, "grown_bytes", lambda: MAX_GROWN_BYTES)
    trim = HeapTrim()
    for _ in range(100):
        trim.housekeeping(now)
        now += 0.5
    assert times == [1000.0 + number * TRIM_S for number in range(5)]


def test_a_large_heap_is_left_alone_because_packets_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = MAX_GROWN_BYTES + 1
    sizes: list[int] = []
    monkeypatch.setattr(heap_trim, "grown_bytes", lambda: grown)
    monkeypatch.setattr(heap_trim, "give_back_free_pages", lambda: sizes.append(grown))
    trim = HeapTrim()
    trim.housekeeping(1000.0)
    grown = MAX_GROWN_BYTES
    trim.housekeeping(1000.0 + TRIM_S)
    assert sizes == [MAX_GROWN_BYTES]
