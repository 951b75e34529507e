"""A call whose phones have fallen silent: nh tells the proxies, although the shard was killed meanwhile."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import AUDIO, NgCall
from tests.ng.relays import NgRelay, call_ids, running_nh
from tests.sip.message import new_token
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports
from tools.harness.waiting import TIMEOUT_S, eventually


class Proxies(NamedTuple):
    """A relay, and what is told of its calls.

    Args:
        nh: the relay.
        rtpproxy: where it serves rtpproxy's protocol.
        posted: (path, body) of each HTTP request.
        listener: the notify socket.
    """

    nh: NgRelay
    rtpproxy: tuple[str, int]
    posted: list[tuple[str, str]]
    listener: socket.socket


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    posted: list[tuple[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    path: Path = tmp_path_factory.mktemp("notify") / "sock"
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server,
        socket.socket(socket.AF_UNIX) as listener,
        claim_ports(1) as claimed,
    ):
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with running_nh(
                kernel="off",
                shards=1,
                silent_s=5,
                unused_s=5,
                rtpproxy=f"127.0.0.1:{claimed[0]}",
                timeout_url=f"http://127.0.0.1:{server.server_port}/json",
                timeout_xmlrpc=f"http://%%:{server.server_port}/xml",
                timeout_xmlrpc_format="kamailio",
                timeout_socket=f"unix:{path}",
            ) as nh:
                yield Proxies(nh, ("127.0.0.1", claimed[0]), posted, listener)
        finally:
            server.shutdown()
            thread.join()


def ask(proxies: Proxies, command: str) -> str:
    """The reply to a command of rtpproxy's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(proxies.rtpproxy)
        cookie = new_token()
        client.send(f"{cookie} {command}".encode())
        return client.recv(256).decode().removeprefix(f"{cookie} ").strip()


def kill_the_shard(nh: NgRelay) -> None:
    """SIGKILL, and the next one has its calls."""
    said = nh.program.wait_for_line("shard 0 is up")
    os.kill(int(said.rpartition("pid ")[2].rstrip(")")), signal.SIGKILL)
    nh.program.wait_for_line("restored")


def test_a_call_of_rtpproxys_that_falls_silent_is_told_of_once(proxies: Proxies) -> None:
    assert ask(proxies, "VF 20081224") == "1"
    call_id = new_token()
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        notify = f"unix:{proxies.listener.getsockname()} T%2e1"
        ask(proxies, f"U {call_id} 127.0.0.1 {alice.port} a;1 {notify}")
        port = int(ask(proxies, f"L {call_id} 127.0.0.1 {bob.port} a;1 b;1").split()[0])
        alice.send(b"the last word", ("127.0.0.1", port))
        assert bob.receive()[0] == b"the last word"
    kill_the_shard(proxies.nh)
    connection, _ = proxies.listener.accept()
    with connection:
        assert connection.makefile("rb").read() == b"T.1\n"
    assert call_id not in call_ids(proxies.nh)
    eventually(lambda: len(about(proxies, call_id)) == 2, "JSON and XML-RPC are posted")
    said = dict(about(proxies, call_id))
    assert json.loads(said["/json"])["dialogs"] == [{"from_tag": "a", "to_tag": "b"}]
    assert "<methodName>dlg.terminate_dlg</methodName>" in said["/xml"]


def test_a_call_of_ngs_is_told_of_at_its_callback_and_a_deleted_one_is_not(proxies: Proxies) -> None:
    with NgClient(proxies.nh.address) as client:
        silent, stranger, deleted = NgCall(client), NgCall(client), NgCall(client)
        for call, callback in ((silent, "127.0.0.1"), (stranger, "192.0.2.1"), (deleted, "127.0.0.1")):
            call.offer(AUDIO, xmlrpc_callback=callback)
            call.answer(AUDIO)
        deleted.delete()
        eventually(lambda: len(about(proxies, silent.call_id)) == 2, "JSON and XML-RPC are posted")
    eventually(lambda: about(proxies, stranger.call_id), "JSON is posted, as the operator wants it")
    assert [path for path, _ in about(proxies, stranger.call_id)] == ["/json"], "no client makes nh connect"
    assert about(proxies, deleted.call_id) == []


def about(proxies: Proxies, call_id: str) -> list[tuple[str, str]]:
    """What was posted about a call."""
    return [(path, body) for path, body in list(proxies.posted) if call_id in body]
