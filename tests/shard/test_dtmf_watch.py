"""nh.shard.observers.dtmf_watch: who is watched."""

import contextlib
import select
import socket
import struct

import pytest
from msgspec import structs

from nh.calls.media import Endpoint
from nh.calls.rtp.payload_types import PayloadFormat
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.shard.observers.dtmf_watch import DtmfWatch
from tests.calls.fakes import CALL, make_proxy
from tests.calls.ng_proxy import A_AUDIO, B_AUDIO, B, NgProxy, make_ng_proxy
from tests.calls.rtp import DTMF, rtp_packet
from tests.calls.snapshots import move_calls
from tests.descriptors import descriptors_here
from tests.shard.conftest import LOOPBACK
from tests.shard.ng_testbed import NgTestbed, line
from tools.harness.media_peer import MediaPeer

TARGET = Endpoint("127.0.0.1", 9)


@pytest.fixture
def proxy() -> NgProxy:
    return make_ng_proxy()


EVENTS = (PayloadFormat(101, "telephone-event", 8000),)


def connect(proxy: NgProxy) -> Session:
    """A call whose ends send telephone events."""
    proxy.offer(structs.replace(A_AUDIO, formats=EVENTS))
    proxy.answer(structs.replace(B_AUDIO, formats=EVENTS))
    return proxy.plane.running[-1]


def watched(proxy: NgProxy) -> list[bool]:
    """Of each leg of the call: whether it is watched."""
    return [bool(leg.taps) for session in proxy.plane.running for leg in session.legs]


def test_rtp_is_watched_where_the_client_wants_it(proxy: NgProxy) -> None:
    watch = DtmfWatch(proxy.table)
    session = connect(proxy)
    watch.call_changed(CALL)
    assert not any(watched(proxy))
    proxy.table.get_call(CALL).dtmf_target = TARGET
    watch.call_changed(CALL)
    assert watched(proxy) == [True, True, False, False]
    assert proxy.plane.renewed == [session]
    watch.call_changed(CALL)
    assert proxy.plane.renewed == [session]


def test_media_without_telephone_events_are_not_watched(proxy: NgProxy) -> None:
    proxy.connect()
    proxy.table.get_call(CALL).dtmf_target = TARGET
    watch = DtmfWatch(proxy.table)
    watch.call_changed(CALL)
    assert not any(watched(proxy))
    connect(proxy)
    watch.call_changed(CALL)
    assert watched(proxy)[:2] == [True, True]


def test_srtp_that_passes_through_is_not_watched(proxy: NgProxy) -> None:
    proxy.offer(structs.replace(A_AUDIO, proto="RTP/SAVP", formats=EVENTS))
    proxy.answer(structs.replace(B_AUDIO, proto="RTP/SAVP", formats=EVENTS))
    proxy.table.get_call(CALL).dtmf_target = TARGET
    DtmfWatch(proxy.table).call_changed(CALL)
    assert not any(watched(proxy))
    assert proxy.plane.renewed == []


def test_media_that_become_srtp_are_watched_no_longer(proxy: NgProxy) -> None:
    connect(proxy)
    proxy.table.get_call(CALL).dtmf_target = TARGET
    watch = DtmfWatch(proxy.table)
    watch.call_changed(CALL)
    proxy.offer(structs.replace(A_AUDIO, proto="RTP/SAVP", formats=EVENTS), to=B)
    proxy.answer(structs.replace(B_AUDIO, proto="RTP/SAVP", formats=EVENTS))
    watch.call_changed(CALL)
    assert not any(watched(proxy))


def test_a_call_that_has_ended_is_not_watched(proxy: NgProxy) -> None:
    DtmfWatch(proxy.table).call_changed(b"another")


def test_it_goes_on_in_another_shard(proxy: NgProxy) -> None:
    connect(proxy)
    proxy.table.get_call(CALL).dtmf_target = TARGET
    after = make_ng_proxy()
    move_calls(proxy.table, after.table, now=proxy.now)
    assert not any(watched(after))
    DtmfWatch(after.table).watch_all()
    assert watched(after) == [True, True, False, False]
    assert after.table.get_call(CALL).dtmf_target == TARGET


def test_the_setting_counts_where_no_client_says_anything(proxy: NgProxy) -> None:
    proxy.table.resources.settings = RelaySettings(dtmf_log_dest="[2001:DB8::1]:2228")
    connect(proxy)
    DtmfWatch(proxy.table).call_changed(CALL)
    assert watched(proxy) == [True, True, False, False]


def test_without_the_setting_a_call_is_watched_no_longer(proxy: NgProxy) -> None:
    """Its media may go back into the kernel; what RTCP is tapped for goes on."""
    resources = proxy.table.resources
    resources.settings = RelaySettings(dtmf_log_dest="127.0.0.1:2228")
    session = connect(proxy)
    watch = DtmfWatch(proxy.table)
    watch.call_changed(CALL)
    session.legs[2].taps = rtcp = (lambda packet: None,)
    resources.settings = RelaySettings()
    watch.call_changed(CALL)
    assert watched(proxy) == [False, False, True, False]
    assert session.legs[2].taps is rtcp
    assert proxy.plane.renewed == [session, session]
    watch.call_changed(CALL)
    assert proxy.plane.renewed == [session, session]


def test_the_setting_is_about_calls_of_ng() -> None:
    proxy = make_proxy()
    proxy.table.resources.settings = RelaySettings(dtmf_log_dest="127.0.0.1:2228")
    session = proxy.connect()
    DtmfWatch(proxy.table).watch_all()
    assert not any(leg.taps for leg in session.legs)


@pytest.mark.parametrize(
    "text", ["proxy.example:2228", "127.0.0.1", "127.0.0.1:0", "224.0.0.1:2228", "2001:db8::5:1"]
)
def test_the_setting_is_an_address_with_a_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"dtmf_log_dest: .*is not IP:PORT"):
        RelaySettings(dtmf_log_dest=text)


def test_a_relay_that_is_closed_leaves_no_socket_of_its_reports_open(
    ports: range, alice: MediaPeer, bob: MediaPeer
) -> None:
    """A program that has nh as a library may close one relay after the other."""
    attribute = f"rtpmap:{DTMF} telephone-event/8000"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        before = descriptors_here()
        with contextlib.closing(NgTestbed(ports, interfaces=(LOOPBACK,))) as testbed:
            target = Endpoint(*receiver.getsockname())
            talk = testbed.connect([line(alice, attribute)], [line(bob, attribute)], dtmf_target=target)
            event = struct.pack("!BBH", 5, 0x80 | 7, 1600)
            alice.send_raw(rtp_packet(1, 160, payload_type=DTMF, payload=event), talk.alice_sends_to[0])
            testbed.turn_until(lambda: select.select([receiver], [], [], 0)[0], "the digit is reported")
        assert descriptors_here() == before
