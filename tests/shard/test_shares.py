"""nh.shard.shares: without a share that it can use, a shard works in another way, and says so."""

import os
from collections.abc import Iterator

import pytest

from nh.calls.settings import RelayConfig
from nh.ipc.link_messages import Configure, KernelMaps
from nh.shard.shares import open_kernel_path, open_leg_memory
from nh.stats import ShardStats


@pytest.fixture
def pipe() -> Iterator[int]:
    """A descriptor that cannot be mapped."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


@pytest.fixture
def relay() -> RelayConfig:
    return RelayConfig(shard=1, shards=2)


def test_without_maps_the_reason_of_the_supervisor_is_that_of_the_shard(relay: RelayConfig) -> None:
    configure = Configure(relay, "segment", kernel_off="kernel_path is off")
    assert open_kernel_path(configure, ShardStats()) == (None, "kernel_path is off")


def test_maps_that_are_none_are_a_reason_to_relay_in_user_space(
    relay: RelayConfig, pipe: int, caplog: pytest.LogCaptureFixture
) -> None:
    maps = KernelMaps(pipe, pipe, first_index=0, indexes=8)
    kernel, kernel_off = open_kernel_path(Configure(relay, "segment", kernel=maps), ShardStats())
    assert kernel is None
    assert kernel_off.startswith("its shard cannot use the kernel's tables: ")
    assert "shard 1 relays in user space" in caplog.text


def test_without_a_counter_file_counters_are_saved_with_snapshots(relay: RelayConfig) -> None:
    assert open_leg_memory(Configure(relay, "segment")) is None


def test_a_counter_file_that_cannot_be_mapped_is_none(
    relay: RelayConfig, pipe: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_leg_memory(Configure(relay, "segment", counters_fd=pipe)) is None
    assert "shard 1 saves counters with snapshots: it cannot use the counter file" in caplog.text
