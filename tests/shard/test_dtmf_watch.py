"""nh.shard.observers.dtmf_watch: who is watched."""

import pytest

from nh.calls.media import Endpoint
from nh.shard.observers.dtmf_watch import DtmfWatch
from tests.calls.fakes import CALL
from tests.calls.ng_proxy import NgProxy, make_ng_proxy
from tests.calls.snapshots import move_calls

TARGET = Endpoint("127.0.0.1", 9)


@pytest.fixture
def proxy() -> NgProxy:
    return make_ng_proxy()


def watched(proxy: NgProxy) -> list[bool]:
    """Of each leg of the call: whether it is watched."""
    return [bool(leg.taps) for session in proxy.plane.running for leg in session.legs]


def test_rtp_is_watched_where_the_client_wants_it(proxy: NgProxy) -> None:
    watch = DtmfWatch(proxy.table)
    session = proxy.connect()
    watch.call_changed(CALL)
    assert not any(watched(proxy))
    proxy.table.get_call(CALL).dtmf_target = TARGET
    watch.call_changed(CALL)
    assert watched(proxy) == [True, True, False, False]
    assert proxy.plane.renewed == [session]
    watch.call_changed(CALL)
    assert proxy.plane.renewed == [session]


def test_a_call_that_has_ended_is_not_watched(proxy: NgProxy) -> None:
    DtmfWatch(proxy.table).call_changed(b"another")


def test_it_goes_on_in_another_shard(proxy: NgProxy) -> None:
    proxy.connect()
    proxy.table.get_call(CALL).dtmf_target = TARGET
    after = make_ng_proxy()
    move_calls(proxy.table, after.table, now=proxy.now)
    assert not any(watched(after))
    DtmfWatch(after.table).watch_all()
    assert watched(after) == [True, True, False, False]
    assert after.table.get_call(CALL).dtmf_target == TARGET
