"""Both clients, whatever the server does."""

import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from nh.client import Client, NativeClient
from nh.commands import Ping, TransactionKey
from nh.errors import CommandTimeout, MalformedFrame, Unavailable
from tests.rpc_server import HangUp, answer_netsip, serving

KEY = TransactionKey(b"call@example", 1, b"from", b"to")


def close_through_net_sip(address: str, timeout_s: float) -> object:
    return Client(address, timeout_s).close_session(KEY)


def ping_natively(address: str, timeout_s: float) -> object:
    with NativeClient(address, timeout_s) as client:
        return client.request(Ping())


both_clients = pytest.mark.parametrize("exchange", [close_through_net_sip, ping_natively])
Exchange = Callable[[str, float], object]


@both_clients
def test_no_socket_there(exchange: Exchange, rpc_path: str, no_descriptor_leaks: None) -> None:
    with pytest.raises(Unavailable, match=r"no such socket; check that `nh run` runs"):
        exchange(rpc_path, 5.0)


@both_clients
def test_no_process_listens(exchange: Exchange, rpc_where: str, no_descriptor_leaks: None) -> None:
    with serving(rpc_where, answer_netsip) as (address, _):
        pass
    with pytest.raises(
        Unavailable,
        match=r"no process listens there; check .*; if nh was killed, .*: start nh",
    ):
        exchange(address, 5.0)


@both_clients
def test_a_directory_means_the_socket_in_it(exchange: Exchange, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"{tmp_path}/socket: no such socket"):
        exchange(str(tmp_path), 5.0)


@both_clients
def test_what_is_no_socket_cannot_be_connected(exchange: Exchange, rpc_path: str) -> None:
    Path(rpc_path).touch()
    with pytest.raises(Unavailable, match=rpc_path):
        exchange(rpc_path, 5.0)


@both_clients
def test_a_host_without_address_cannot_be_connected(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_host(*_arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(Unavailable, match="cannot connect: Name or service"):
        exchange("unknown.invalid:7070", 5.0)


@both_clients
def test_a_full_backlog_is_not_waited_for_for_ever(
    exchange: Exchange, rpc_path: str, no_descriptor_leaks: None
) -> None:
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(rpc_path)
        listener.listen(0)
        try:
            while True:
                sock = socket.socket(socket.AF_UNIX)
                waiting.append(sock)
                sock.setblocking(False)
                sock.connect(rpc_path)
        except BlockingIOError:
            with pytest.raises(Unavailable, match="no connection within the time limit"):
                exchange(rpc_path, 0.1)
        finally:
            for sock in waiting:
                sock.close()


@both_clients
def test_silence_is_not_waited_for_for_ever(
    exchange: Exchange, rpc_where: str, no_descriptor_leaks: None
) -> None:
    with (
        serving(rpc_where, lambda _: []) as (address, _),
        pytest.raises(CommandTimeout, match="no reply within the time limit"),
    ):
        exchange(address, 0.1)


@both_clients
def test_a_reply_in_drops_does_not_stretch_the_deadline(exchange: Exchange, rpc_path: str) -> None:
    done = threading.Event()

    def drip(_payload: bytes) -> Iterable[bytes]:
        yield b"\x00\x00\x7f\xff"
        while not done.wait(0.01):
            yield b"x"

    with serving(rpc_path, drip) as (address, _):
        try:
            with pytest.raises(CommandTimeout):
                exchange(address, 0.2)
        finally:
            done.set()


@both_clients
def test_a_reply_that_breaks_off(exchange: Exchange, rpc_where: str, no_descriptor_leaks: None) -> None:
    def break_off(_payload: bytes) -> Iterable[bytes]:
        yield b"\x00\x00\x00\x09half"
        raise HangUp

    with (
        serving(rpc_where, break_off) as (address, _),
        pytest.raises(Unavailable, match="in the middle of a reply"),
    ):
        exchange(address, 5.0)


@both_clients
def test_a_reply_that_is_too_long(exchange: Exchange, rpc_path: str, no_descriptor_leaks: None) -> None:
    with serving(rpc_path, lambda _: [b"\x7f\xff\xff\xff"]) as (address, _), pytest.raises(MalformedFrame):
        exchange(address, 5.0)
