"""`python -m nh.shard` as a zygote: it forks, and each fork is a shard as any other."""

import gc
import os
import resource
import socket
from collections.abc import Iterator

import psutil
import pytest

from nh.commands import ListCalls
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import Fork, Forked, Waiting
from nh.results import CallList
from nh.shard.zygote import wait_for_settings
from nh.stats import Segment
from nh.supervisor.host.reaper import become_subreaper
from nh.supervisor.shards.process import SHARD_ARGV, ShardProcess
from tests.descriptors import descriptors_here
from tests.shard.link import Link
from tools.harness.waiting import eventually

PATIENCE_S = 20.0


@pytest.fixture
def zygote() -> Iterator[ShardProcess]:
    become_subreaper()
    zygote = ShardProcess.start(SHARD_ARGV)
    assert zygote.receive(PATIENCE_S) == Waiting()
    yield zygote
    end(zygote)
    become_subreaper(False)


def end(process: ShardProcess) -> str:
    process.kill()
    process.link.close()
    return process.reap()


def link_of(process: ShardProcess) -> Link:
    link = Link()
    link.close()
    link.ours = process.link
    link.ours.settimeout(PATIENCE_S)
    return link


def test_forks_are_shards_side_by_side_and_end_in_order(
    zygote: ShardProcess, segment: Segment, ports: range
) -> None:
    forks = [zygote.fork(PATIENCE_S) for _ in range(2)]
    links = [link_of(fork) for fork in forks]
    for link in links:
        link.configure(ports, segment.name)
    assert [link.ready().pid for link in links] == [fork.pid for fork in forks]
    assert [link.answer(ListCalls()) for link in links] == [CallList(())] * 2
    for link, fork in zip(links, forks, strict=True):
        link.shut_down()
        assert fork.reap() == "exit status 0"
        fork.link.close()


def test_a_fork_outlives_the_zygote(zygote: ShardProcess, segment: Segment, ports: range) -> None:
    fork = zygote.fork(PATIENCE_S)
    zygote.kill()
    link = link_of(fork)
    link.configure(ports, segment.name)
    assert link.ready().pid == fork.pid
    assert end(fork) == "signal 9, SIGKILL"


def test_a_fork_has_nothing_of_the_zygote_and_a_session_of_its_own(zygote: ShardProcess) -> None:
    first, second = zygote.fork(PATIENCE_S), zygote.fork(PATIENCE_S)

    def have_as_many_descriptors() -> bool:
        return len({psutil.Process(each.pid).num_fds() for each in (zygote, first, second)}) == 1

    # a fork closes the zygote's link when its own pid is known already
    eventually(have_as_many_descriptors, "each has its link alone")
    assert len({os.getsid(each.pid) for each in (zygote, first, second)}) == 3
    end(first)
    end(second)


def test_a_fork_forks_as_well(zygote: ShardProcess) -> None:
    first = zygote.fork(PATIENCE_S)
    second = first.fork(PATIENCE_S)
    assert end(second) == "signal 9, SIGKILL"
    end(first)


def test_the_zygote_keeps_neither_descriptors_nor_children(zygote: ShardProcess) -> None:
    process = psutil.Process(zygote.pid)
    before = process.num_fds()
    for _ in range(20):
        end(zygote.fork(PATIENCE_S))
    assert process.num_fds() == before
    assert process.children() == []


def test_a_system_that_lets_nothing_be_forked_is_an_answer_and_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    before = descriptors_here()
    with Link() as link:
        socket.send_fds(link.ours, [encode(Fork())], [0])
        link.shut_down()
        assert wait_for_settings(link.theirs) is link.theirs
        assert [decode_from_shard(link.ours.recv(100)) for _ in range(2)] == [Waiting(), Forked(0)]
    assert psutil.Process().num_fds() == before
    gc.unfreeze()


def test_a_zygote_without_room_for_a_descriptor_says_so(zygote: ShardProcess) -> None:
    before = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with pytest.raises(OSError, match="does not let it fork"):
        zygote.fork(PATIENCE_S)
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, before)
    end(zygote.fork(PATIENCE_S))


def test_a_zygote_ends_with_its_supervisor(zygote: ShardProcess) -> None:
    zygote.link.shutdown(socket.SHUT_RDWR)
    eventually(lambda: psutil.Process(zygote.pid).status() == psutil.STATUS_ZOMBIE, "it ends")
