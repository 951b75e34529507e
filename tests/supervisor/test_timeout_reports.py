"""nh.supervisor.timeouts: what is sent where about a timed-out call, and that nothing of it makes nh wait."""

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nh.calls.timeouts import TimeoutTarget
from nh.config import Settings
from nh.config.table import XmlrpcFormat
from nh.ipc.report_messages import MediaTimedOut
from nh.stats import SupervisorStats
from nh.supervisor.timeouts import reports, send
from nh.supervisor.timeouts.deliveries import Delivery, Disallowed, deliveries, xmlrpc_bodies
from nh.supervisor.timeouts.reports import MAX_WAITING, TimeoutReports
from tests.no_threads import no_threads
from tests.profiles import examples
from tools.harness.waiting import TIMEOUT_S, eventually

CALL = MediaTimedOut(b"c@h", ((b"a", b"b"),), "expired", 61.5, 42)


def told(*, socket: str = "", tag: bytes = b"", callback: str = "") -> MediaTimedOut:
    target = TimeoutTarget(socket, tag, callback)
    return MediaTimedOut(b"c@h", ((b"a", b"b"),), "expired", 61.5, 42, target)


def sent(timed_out: MediaTimedOut, **options: object) -> list[Delivery | Disallowed]:
    return list(deliveries(timed_out, Settings(**options), now=1.0))  # type: ignore[arg-type]


# --- what is sent where ---------------------------------------------------------------------------


def test_nothing_is_sent_unless_the_settings_say_so() -> None:
    assert sent(CALL) == []


def test_a_url_gets_json() -> None:
    (delivery,) = sent(CALL, timeout_url=("http://127.0.0.1:8080/timeouts",))
    assert isinstance(delivery, Delivery)
    assert (delivery.where, delivery.content_type) == ("http://127.0.0.1:8080/timeouts", "application/json")
    assert json.loads(delivery.body) == {
        "event": "media_timed_out",
        "call_id": "c@h",
        "dialogs": [{"from_tag": "a", "to_tag": "b"}],
        "reason": "expired",
        "age_s": 61.5,
        "packets": 42,
        "time": 1.0,
    }


@pytest.mark.parametrize("named", ["unix:/run/t.sock", "/run/t.sock"])
def test_a_notify_socket_of_the_settings_gets_the_clients_tag(named: str) -> None:
    (delivery,) = sent(told(socket=named, tag=b"T1.2"), timeout_socket=("unix:/run/t.sock",))
    assert delivery == Delivery("unix:/run/t.sock", "unix:/run/t.sock", b"T1.2\n")


@pytest.mark.parametrize("named", ["unix:/run/other", "tcp:192.0.2.1:25", "tcp:127.0.0.1:9", "x"])
def test_no_other_socket_is_connected_to(named: str) -> None:
    (refused,) = sent(told(socket=named), timeout_socket=("unix:/run/t.sock", "tcp:127.0.0.1:99"))
    assert isinstance(refused, Disallowed)


@pytest.mark.parametrize(
    ("callback", "where"),
    [
        ("", "http://127.0.0.1:8090/RPC2"),
        ("127.0.0.9", "http://127.0.0.9:8090/RPC2"),
        ("::1", "http://[::1]:8090/RPC2"),
        ("192.0.2.7", "http://192.0.2.7:8090/RPC2"),
        ("192.0.2.8", ""),
        ("169.254.169.254", ""),
    ],
)
def test_xml_goes_to_loopback_and_the_addresses_of_the_settings(callback: str, where: str) -> None:
    options = {"timeout_xmlrpc": "http://%%:8090/RPC2", "timeout_address": ("192.0.2.7",)}
    for each in sent(told(callback=callback), **options):
        assert isinstance(each, Delivery if where else Disallowed)
        assert not isinstance(each, Delivery) or each.where == where


def test_a_url_without_a_place_for_the_client_is_taken_as_it_is() -> None:
    for each in sent(told(callback="192.0.2.8"), timeout_xmlrpc="http://198.51.100.1:8090/"):
        assert isinstance(each, Delivery)
        assert each.where == "http://198.51.100.1:8090/"


@pytest.mark.parametrize(
    ("form", "calls"),
    [
        (
            "sems",
            [
                ("di", "sbc", "postControlCmd", "a", "teardown"),
                ("di", "sbc", "postControlCmd", "b", "teardown"),
            ],
        ),
        ("callid", [("teardown", "c@h")]),
        ("kamailio", [("dlg.terminate_dlg", "c@h", "a", "b")]),
    ],
)
def test_the_formats_are_those_of_rtpengine(form: str, calls: list[tuple[str, ...]]) -> None:
    assert [read_xml(body) for body in xmlrpc_bodies(CALL, XmlrpcFormat(form))] == calls


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(XmlrpcFormat))
@example("\ufffe\uffff".encode(), b"\x7f\0<&>", XmlrpcFormat.KAMAILIO)
def test_whatever_the_identifiers_are_the_messages_can_be_read(
    call_id: bytes, tag: bytes, form: XmlrpcFormat
) -> None:
    call = MediaTimedOut(call_id, ((tag, b"b"),), "hold", 1.0, 0)
    for body in xmlrpc_bodies(call, form):
        read_xml(body)
    (delivery,) = sent(call, timeout_url=("http://127.0.0.1/",))
    assert isinstance(delivery, Delivery)
    json.loads(delivery.body)


def read_xml(body: bytes) -> tuple[str, ...]:
    """The method and the parameters of an XML-RPC request."""
    root = ElementTree.fromstring(body)
    return (root.findtext("methodName") or "", *(each.text or "" for each in root.iter("string")))


# --- sending --------------------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it gets; answers with what its server says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], body))  # type: ignore[attr-defined]
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, b"")  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as running:
        running.got = []  # type: ignore[attr-defined]
        running.answers = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAUSE_S", 0.01)


@contextlib.contextmanager
def reporting(**options: object) -> Iterator[tuple[TimeoutReports, SupervisorStats]]:
    stats = SupervisorStats()
    running = TimeoutReports(Settings(**options), stats)  # type: ignore[arg-type]
    yield running, stats
    running.close()


def counted(running: TimeoutReports, stats: SupervisorStats) -> int:
    """How many messages have been sent, or given up."""
    running.update_stats()
    return stats.timeouts_reported + stats.timeouts_failed


def test_a_report_is_posted_and_counted(server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}/x?y=1"
    with reporting(timeout_url=(url,)) as (running, stats):
        running.report(CALL)
        eventually(lambda: server.got, "it is posted")  # type: ignore[attr-defined]
    ((path, kind, body),) = server.got  # type: ignore[attr-defined]
    assert (path, kind, json.loads(body)["call_id"]) == ("/x?y=1", "application/json", "c@h")
    assert (stats.timeouts_reported, stats.timeouts_failed) == (1, 0)


def test_it_is_tried_again_where_it_fails_and_not_for_ever(server: ThreadingHTTPServer) -> None:
    server.answers += [(500, b""), (200, b""), *[(404, b"")] * reports.TRIES]  # type: ignore[attr-defined]
    with reporting(timeout_url=(f"http://127.0.0.1:{server.server_port}/",)) as (running, stats):
        running.report(CALL)
        running.report(CALL)
        eventually(lambda: counted(running, stats) == 2, "the second one fails")
    assert stats.timeouts_reported == 1
    assert len(server.got) == 2 + reports.TRIES  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "reported"),
    [(b"<fault>Dialog not found</fault>", 1), (b"<methodResponse><fault>no</fault></methodResponse>", 0)],
)
def test_a_fault_is_a_failure_unless_the_dialog_is_gone(
    answer: bytes, reported: int, server: ThreadingHTTPServer
) -> None:
    server.answers += [(200, answer)] * reports.TRIES  # type: ignore[attr-defined]
    url = f"http://%%:{server.server_port}/"
    with reporting(timeout_xmlrpc=url, timeout_xmlrpc_format=XmlrpcFormat.CALLID) as (running, stats):
        running.report(CALL)
        eventually(lambda: counted(running, stats), "it is decided")
    assert stats.timeouts_reported == reported


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_notify_socket_gets_a_line(kind: str, tmp_path: Path) -> None:
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(str(tmp_path / "sock") if kind == "unix" else ("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(TIMEOUT_S)
        name = listener.getsockname()
        where = f"unix:{name}" if kind == "unix" else f"tcp:127.0.0.1:{name[1]}"
        with reporting(timeout_socket=(where,)) as (running, _):
            running.report(told(socket=where, tag=b"T7"))
            connection, _peer = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT_S)
                assert connection.makefile("rb").readline() == b"T7\n"


def test_a_target_that_hangs_keeps_neither_nh_nor_other_targets(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "GRACE_S", 0.01)
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(0)
        urls = [f"http://127.0.0.1:{port}/" for port in (hanging.getsockname()[1], server.server_port)]
        with reporting(timeout_url=tuple(urls)) as (running, stats):
            for _ in range(MAX_WAITING + 10):
                running.report(CALL)
            eventually(lambda: len(server.got) >= 9, "the other one gets its messages")  # type: ignore[attr-defined]
            assert stats.timeouts_lost >= 9, "more than may wait are lost, and counted"
            running.close(at_handover=True)
            assert stats.timeouts_lost >= MAX_WAITING, "so is what waits at the end"


def test_what_waits_when_nh_ends_is_sent(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a handover it is lost where it takes long, because clients wait for the next process."""
    monkeypatch.setattr(reports, "GRACE_S", TIMEOUT_S)
    monkeypatch.setattr(reports, "HANDOVER_GRACE_S", 0.0)
    with reporting(timeout_url=(f"http://127.0.0.1:{server.server_port}/",)) as (running, stats):
        for _ in range(MAX_WAITING):
            running.report(CALL)
    assert (stats.timeouts_reported, stats.timeouts_lost) == (MAX_WAITING, 0)


def test_a_refused_report_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with reporting() as (running, stats):
        running.report(told(socket="tcp:192.0.2.1:25"))
    assert stats.timeouts_refused == 1
    assert "timeout_socket does not list" in caplog.text


def test_a_host_without_threads_loses_reports_until_it_has_one(
    server: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    with reporting(timeout_url=(f"http://127.0.0.1:{server.server_port}/",)) as (running, stats):
        with no_threads("timeout reports"):
            running.report(CALL)
        assert (stats.timeouts_lost, counted(running, stats)) == (1, 0)
        assert "no thread can be started; raise the limit on processes" in caplog.text
        running.report(CALL)
        eventually(lambda: counted(running, stats), "the next one is sent")
    assert stats.timeouts_reported == 1


def test_a_shortage_of_descriptors_at_the_first_report_ends_no_thread(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reporting(timeout_url=(f"http://127.0.0.1:{server.server_port}/",)) as (running, stats):
        with monkeypatch.context() as short:
            short.setitem(sys.modules, "nh.supervisor.timeouts.send", None)  # its import fails
            running.report(CALL)
            eventually(lambda: counted(running, stats), "it is given up")
        running.report(CALL)
        eventually(lambda: counted(running, stats) == 2, "the next one is sent")
    assert (stats.timeouts_failed, stats.timeouts_reported) == (1, 1)


def test_a_receiver_that_is_silent_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        delivery = Delivery("t", f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", "application/json")
        with pytest.raises(send.NotDelivered):
            send.send(delivery, timeout_s=0.05)


def test_the_thread_of_a_target_with_no_room_for_its_end_ends_when_all_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    under_way, goes_on = threading.Event(), threading.Event()

    def slow(_delivery: Delivery) -> None:
        under_way.set()
        assert goes_on.wait(TIMEOUT_S)

    monkeypatch.setattr(send, "send", slow)
    monkeypatch.setattr(reports, "MAX_WAITING", 1)
    delivery = Delivery("unix:/x", "unix:/x", b"")
    target = reports._Queue("unix:/x")
    target.put(delivery)
    assert under_way.wait(TIMEOUT_S)
    assert target.put(delivery)
    assert not target.put(delivery), "there is no room"
    target.close()
    goes_on.set()
    target.join(TIMEOUT_S)
    assert not target._thread.is_alive()
    assert target.take_counts() == (2, 0)
