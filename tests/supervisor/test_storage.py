"""Who has the calls after a start or a promotion that has failed behind the opening of the store."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.config import Settings
from nh.errors import NotNow
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.stats import SupervisorStats
from nh.supervisor.storage import Storage
from nh.supervisor.store.open import OWN_GROUP, StateKey
from tests.no_threads import no_threads
from tests.supervisor.valkey_group import Group

NO_KEY = StateKey(None, "")


def open_storage(group: Group, directory: Path, inherited: Inherited = NOTHING_INHERITED) -> None:
    """Open the store of a relay, and close it."""
    settings = Settings(runtime_dir=str(directory), state=f"valkey://{group.location}")
    with contextlib.ExitStack() as stack:
        storage = Storage(settings, NO_KEY, stack, SupervisorStats())
        storage.open(OWN_GROUP, inherited)


@contextlib.contextmanager
def orphan_socket(directory: Path) -> Iterator[None]:
    """The handover socket of a shard that outlives its supervisor; its file stays, as behind a kill."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(directory / "shard-0-0badcafe.sock"))
        sock.listen(1)
        yield


def is_free(group: Group) -> bool:
    """Whether another relay gets the group at once, and not after a lease."""
    return int(group.client.hget(group.key("group"), "until")) == 0


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_start_without_a_thread_gives_the_group_away_unless_the_supervisor_before_goes_on(
    own_group: Group, tmp_path: Path, goes_on: bool
) -> None:
    ours, theirs = socket.socketpair()
    inherited = Inherited()
    inherited.awaited_by = ours if goes_on else None
    with ours, theirs, no_threads("store"), pytest.raises(OSError, match="no thread can be started"):
        open_storage(own_group, tmp_path, inherited)
    assert is_free(own_group) is not goes_on


def test_a_start_that_fails_beside_shards_that_relay_keeps_their_lease(
    own_group: Group, tmp_path: Path
) -> None:
    """They relay until its end: a standby that had the calls at once would send beside them."""
    with orphan_socket(tmp_path):
        open_storage(own_group, tmp_path)
        assert not is_free(own_group)
        with no_threads("store"), pytest.raises(OSError, match="no thread can be started"):
            open_storage(own_group, tmp_path)
        assert not is_free(own_group)
    open_storage(own_group, tmp_path)  # the file of the socket is there, and nothing listens
    assert is_free(own_group)


def test_a_start_that_cannot_tell_its_shards_the_deadline_gives_the_group_away(
    own_group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise NotNow("no room for the deadline")

    monkeypatch.setattr("nh.supervisor.storage.Deadline", refuse)
    settings = Settings(runtime_dir=str(tmp_path), state=f"valkey://{own_group.location}")
    with contextlib.ExitStack() as stack:  # of the standby, which goes on
        storage = Storage(settings, NO_KEY, stack, SupervisorStats())
        with pytest.raises(NotNow, match="no room for the deadline"):
            storage.open(OWN_GROUP)
        assert storage.store is None
        assert is_free(own_group)


def test_the_group_is_free_behind_an_orderly_end(own_group: Group, tmp_path: Path) -> None:
    open_storage(own_group, tmp_path)
    assert is_free(own_group)
