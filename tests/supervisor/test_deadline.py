"""nh.supervisor.store.deadline: until when shards and kernel forward."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.errors import NotNow
from nh.ipc.shared_deadline import NS, SharedDeadline
from nh.supervisor.store.deadline import Deadline, lift_deadline
from nh.supervisor.store.lease import Lease

LENGTH_S = 5.0


@pytest.fixture
def lease() -> Lease:
    lease = Lease(LENGTH_S)
    lease.renewed(sent_at=100.0)
    return lease


@contextlib.contextmanager
def a_deadline(directory: Path, lease: Lease, *, may_run_out: bool = True) -> Iterator[Deadline]:
    with contextlib.closing(Deadline(directory, lease, may_run_out=may_run_out)) as deadline:
        yield deadline


def shared_s(directory: Path) -> float:
    with contextlib.closing(SharedDeadline(directory / "lease")) as shared:
        return shared.read_ns() / NS


def test_shards_and_kernel_get_the_end_of_the_lease_and_of_each_renewal(tmp_path: Path, lease: Lease) -> None:
    kernel: list[int] = []
    with a_deadline(tmp_path, lease) as deadline:
        assert shared_s(tmp_path) == 105.0
        deadline.tell_kernel(kernel.append)
        lease.renewed(sent_at=101.0)
        assert shared_s(tmp_path) == 106.0
    assert kernel == [105 * NS, 106 * NS]


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_that_was_removed_is_made_anew_and_shards_that_have_the_old_one_are_told_on(
    tmp_path: Path, lease: Lease, replace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        a_deadline(tmp_path, lease) as deadline,
        contextlib.closing(SharedDeadline(tmp_path / "lease")) as old_shard,
    ):
        deadline.renew()
        (tmp_path / "lease").unlink()
        if replace:
            (tmp_path / "lease").write_bytes(bytes(8))
        deadline.renew()
        deadline.renew()
        assert len(caplog.messages) == 1
        assert shared_s(tmp_path) == 105.0
        lease.renewed(sent_at=101.0)
        assert shared_s(tmp_path) == old_shard.read_ns() / NS == 106.0
        deadline.set_past()
        assert shared_s(tmp_path) == old_shard.read_ns() / NS < 1
    (tmp_path / "lease").unlink()
    deadline.renew()
    assert not list(tmp_path.iterdir()), "the next supervisor makes it"


def test_it_stands_when_the_supervisor_has_ended(tmp_path: Path, lease: Lease) -> None:
    with a_deadline(tmp_path, lease):
        pass
    lease.renewed(sent_at=101.0)
    assert shared_s(tmp_path) == 105.0


def test_calls_that_outlive_the_server_have_none_but_while_a_standby_may_take_them(
    tmp_path: Path, lease: Lease
) -> None:
    with a_deadline(tmp_path, lease, may_run_out=False) as deadline:
        lease.renewed(sent_at=101.0)
        assert shared_s(tmp_path) == 0
        deadline.set_moving(True)
        assert shared_s(tmp_path) == 106.0
        lease.renewed(sent_at=102.0)
        assert shared_s(tmp_path) == 107.0
        deadline.set_moving(False)
        assert shared_s(tmp_path) == 0


def test_what_another_relay_has_is_not_forwarded_any_more_whatever_comes_late(
    tmp_path: Path, lease: Lease
) -> None:
    with a_deadline(tmp_path, lease) as deadline:
        deadline.set_past()
        lease.renewed(sent_at=200.0)
        assert 0 < shared_s(tmp_path) < 1


def test_a_run_without_a_lease_lifts_the_deadline_of_the_shards_of_the_run_before(
    tmp_path: Path, lease: Lease
) -> None:
    with a_deadline(tmp_path, lease):
        pass
    with contextlib.closing(SharedDeadline(tmp_path / "lease")) as shard:
        lift_deadline(tmp_path)
        assert shard.read_ns() == 0
    assert not (tmp_path / "lease").exists()
    lift_deadline(tmp_path)


def test_nh_does_not_start_without_it(tmp_path: Path, lease: Lease) -> None:
    with pytest.raises(NotNow, match="lease cannot be made: No such file or directory"):
        Deadline(tmp_path / "missing", lease, may_run_out=True)
