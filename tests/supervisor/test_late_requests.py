"""A server that stalls executes what its relay gave up on: no lease that is over begins anew by that."""

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from valkey import Valkey

from nh.errors import StoreUnavailable
from nh.ipc.shared_deadline import boottime
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.store import Store
from tests.profiles import quick_first
from tests.supervisor.stores import MemoryEngine, MemoryServer, until_written
from tests.supervisor.valkey_group import Group
from tools.harness.waiting import eventually

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.engine import ValkeyEngine

Patch = pytest.MonkeyPatch
Stop = Callable[[], None]
Request = Callable[["ValkeyEngine", Patch, Stop], None]

CALL = StoredCall(b"a", b"snapshot", 1.5)


def stop_behind(monkeypatch: Patch, command: str, stop: Stop) -> None:
    """The server stalls as soon as it has answered a command of the client."""
    answered = getattr(Valkey, command)

    def answer_and_stop(client: "Valkey[bytes]") -> object:
        answer = answered(client)
        stop()
        return answer

    monkeypatch.setattr(Valkey, command, answer_and_stop)


def renewal(relay: "ValkeyEngine", monkeypatch: Patch, stop: Stop) -> None:
    monkeypatch.setattr("nh.supervisor.store.lease.RENEW_S", 0.0)
    relay.check()  # the server knows the script
    stop()
    relay.check()


def write(relay: "ValkeyEngine", _monkeypatch: Patch, stop: Stop) -> None:
    stop()
    relay.write({b"b": StoredCall(b"b", b"snapshot", 1.5)})


def return_to_the_group(relay: "ValkeyEngine", monkeypatch: Patch, stop: Stop) -> None:
    relay.close()
    stop_behind(monkeypatch, "time", stop)
    relay.open()


def taking_back(relay: "ValkeyEngine", monkeypatch: Patch, stop: Stop) -> None:
    relay.lease.give_to = "standby"
    relay.check()
    relay.close()
    relay.lease.give_to = ""
    stop_behind(monkeypatch, "ping", stop)
    relay.open()


@pytest.mark.valkey
@pytest.mark.parametrize("request_of", quick_first([renewal, write, return_to_the_group, taking_back]))
def test_another_relay_has_the_group_at_once(
    own_group: Group, monkeypatch: Patch, request_of: Request
) -> None:
    from nh.supervisor.store.valkey import connection, group  # noqa: PLC0415  needs the extra valkey

    for module in (connection, group):
        monkeypatch.setattr(module, "REPLY_S", 1.0)
    relay = own_group.engine("relay-1", options="&lease=3")
    relay.open()
    relay.write({b"a": CALL})
    server = own_group.server.program.pid
    ends_at_ms: list[int] = []

    def stop() -> None:
        ends_at_ms.append(int(own_group.client.hget(own_group.key("group"), "until")))
        os.kill(server, signal.SIGSTOP)

    with monkeypatch.context() as stalling:
        with pytest.raises(StoreUnavailable, match="has not answered"):
            request_of(relay, stalling, stop)
        relay.close()
    eventually(lambda: time.time() * 1000 > ends_at_ms[0] + 1, "the lease is over by the server's clock")
    os.kill(server, signal.SIGCONT)
    standby = own_group.follower("relay-2")
    assert standby.is_free(standby.poll())
    other = own_group.engine("relay-2", follower=standby)
    assert other.open() == [CALL]
    other.close()


@pytest.mark.valkey
@pytest.mark.parametrize("given", quick_first([False, True]))
def test_a_relay_that_may_outlive_its_lease_has_its_group_again(
    own_group: Group, monkeypatch: Patch, given: bool
) -> None:
    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 0.1)
    store = Store(own_group.engine("relay-1", options="&lease=1.8"))  # less than a wait for the server
    assert store.lease is not None
    store.put(b"a", b"1")
    until_written(store)
    if given:
        store.give("standby")
        eventually(lambda: store.lease and store.lease.given_to, "the standby may have the calls")
    server = own_group.server.program.pid
    os.kill(server, signal.SIGSTOP)
    store.put(b"b", b"2")
    store.give("")
    eventually(lambda: not store.works, "the server does not answer")
    os.kill(server, signal.SIGCONT)
    until_written(store)
    assert own_group.contents() == {b"a": b"1", b"b": b"2"}
    assert not store.lease.lost_to
    assert not store.lease.given_to
    store.close(5.0)


def test_a_relay_that_cannot_know_whether_a_standby_has_its_calls_asks_all_the_time(
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 600.0)
    asked: list[float] = []

    lease = Lease(5.0)

    class UnsureEngine(MemoryEngine):
        def check(self) -> None:
            asked.append(boottime())
            lease.given_to = lease.give_to
            raise StoreUnavailable("the server executes GIVE, and its answer is lost")

    engine = UnsureEngine(MemoryServer())
    engine.lease = lease
    store = Store(engine)
    store.give("standby")
    eventually(lambda: len(asked) > 3, "it asks again")
    store.close(5.0)
