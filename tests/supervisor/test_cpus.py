"""nh.supervisor.host.cpus: pinning within what the process may use."""

import os

from nh.supervisor.host.cpus import cpu_of, usable_cpus


def test_only_cpus_that_the_process_may_use_are_given_out() -> None:
    assert set(usable_cpus()) == os.sched_getaffinity(0)


def test_more_shards_than_cpus_share_them_in_turn() -> None:
    assert [cpu_of(shard, (2, 5, 7)) for shard in range(7)] == [2, 5, 7, 2, 5, 7, 2]
