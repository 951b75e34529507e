"""nh as a library: a Server with a Helper in this process, under each loop, with commands of one's own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvloop

from nh import AsyncioLoop, Client, Helper, NativeClient, RelayConfig, SelectorLoop, Server
from nh.calls.media import Media, Side
from nh.commands import Command, Drain, Extension, GetStats, ListEnded, Ping, ShowEnded, TransactionKey
from nh.errors import LimitReached, NhError, UnknownCommand
from nh.results import EndedCalls, Pong, Stats
from nh.stats.layout import SHARD_TABLE, SUPERVISOR_TABLE
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

KEY = ["a-call", 1, "caller", "callee", "sip:caller@example.org", "sip:callee@example.org"]


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    with claim_ports(40) as claimed:
        yield claimed[0], claimed[-1]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


@contextlib.contextmanager
def running(server: Server) -> Iterator[None]:
    """The server's own loop in a thread, ended and closed afterwards."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        # wakes the loop, which then sees that it shall stop
        server.commands["stop"] = lambda _helper, _command: server.stop()
        stop_by_rpc(server)
        thread.join(timeout=10)
        server.close()
        assert not thread.is_alive()


def stop_by_rpc(server: Server) -> None:
    host, port = server_address[id(server)].rsplit(":", 1)
    with socket.create_connection((host, int(port))) as sock:
        body = b'{"id":1,"command":"stop"}'
        sock.sendall(len(body).to_bytes(4, "big") + body)
        sock.recv(4096)


server_address: dict[int, str] = {}


def serve(listener: socket.socket, ports: tuple[int, int]) -> Server:
    server = Server(Helper(RelayConfig(ports=ports)), [listener])
    server_address[id(server)] = address_of(listener)
    return server


def media(peer: MediaPeer) -> list[dict[str, object]]:
    return [{"addr": peer.address, "port": peer.port, "range": 2, "proto": "RTP/AVP", "media": "audio"}]


def set_up_call(address: str, caller: MediaPeer, callee: MediaPeer) -> tuple[int, int]:
    """The relay's RTP ports for caller and callee to send to."""
    client = Client(address)
    to_caller = client.allocate_sockets(KEY, 0, "127.0.0.1", media(caller))
    to_callee = client.allocate_sockets(KEY, 1, "127.0.0.1", media(callee))
    assert to_caller and to_callee
    assert client.activate_session(KEY) == 1
    return to_callee[0][1], to_caller[0][1]


def relay_both_ways(address: str) -> None:
    with MediaPeer("127.0.0.1") as caller, MediaPeer("127.0.0.1") as callee:
        for_caller, for_callee = set_up_call(address, caller, callee)
        caller.send(b"hello", ("127.0.0.1", for_caller))
        assert callee.receive()[0] == b"hello"
        callee.send(b"good day", ("127.0.0.1", for_callee))
        assert caller.receive()[0] == b"good day"
        assert Client(address).close_session(KEY) == 1


def test_a_server_in_this_process_relays_a_call(listener: socket.socket, ports: tuple[int, int]) -> None:
    server = serve(listener, ports)
    with running(server):
        relay_both_ways(address_of(listener))


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_server_lives_in_a_running_asyncio_loop(
    new_loop: type[asyncio.AbstractEventLoop], listener: socket.socket, ports: tuple[int, int]
) -> None:
    async def main() -> None:
        server = Server(Helper(RelayConfig(ports=ports)), [listener], loop=AsyncioLoop())
        try:
            await asyncio.to_thread(relay_both_ways, address_of(listener))
        finally:
            server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_a_server_without_a_helper_makes_its_own(listener: socket.socket) -> None:
    server = Server(None, [listener])
    server_address[id(server)] = address_of(listener)
    with running(server), NativeClient(address_of(listener)) as client:
        assert client.request(Ping()) == Pong("0.1.0")


def test_run_belongs_to_servers_with_a_loop_of_their_own(listener: socket.socket) -> None:
    async def main() -> None:
        server = Server(None, [listener], loop=AsyncioLoop())
        try:
            with pytest.raises(TypeError, match="AsyncioLoop"):
                server.run()
        finally:
            server.close()

    asyncio.run(main())


def test_a_command_can_be_overridden(listener: socket.socket, ports: tuple[int, int]) -> None:
    def refuse(_helper: Helper, _command: Command) -> object:
        raise LimitReached("no calls today")

    server = serve(listener, ports)
    server.commands["allocate"] = refuse
    with running(server), MediaPeer("127.0.0.1") as caller:
        client = Client(address_of(listener))
        assert client.allocate_sockets(KEY, 0, "127.0.0.1", media(caller)) is None
        assert server.helper.stats.allocate_refused == 0


def test_a_command_can_be_added(listener: socket.socket, ports: tuple[int, int]) -> None:
    def whoami(_helper: Helper, command: Command) -> object:
        assert isinstance(command, Extension)
        return {"you_said": command.arguments}

    server = serve(listener, ports)
    server.commands["whoami"] = whoami
    with running(server), socket.create_connection(listener.getsockname()) as sock:
        body = b'{"id":7,"command":"whoami","name":"alice"}'
        sock.sendall(len(body).to_bytes(4, "big") + body)
        reply = sock.recv(4096)[4:]
        assert reply == b'{"id":7,"result":{"you_said":[{"name":"alice"}]}}'


def test_the_statistics_are_those_of_the_server_and_of_its_relay(
    listener: socket.socket, ports: tuple[int, int]
) -> None:
    with running(serve(listener, ports)), NativeClient(address_of(listener)) as client:
        values = client.request(GetStats()).values
    server, helper = values["server"], values["helper"]
    assert isinstance(server, dict)
    assert isinstance(helper, dict)
    assert server.keys() == {field.name for field in SUPERVISOR_TABLE}
    assert helper.keys() == {*(field.name for field in SHARD_TABLE), "histograms"}


def test_a_library_keeps_no_history(listener: socket.socket, ports: tuple[int, int]) -> None:
    with running(serve(listener, ports)), NativeClient(address_of(listener)) as client:
        assert client.request(ListEnded()) == EndedCalls(())
        with pytest.raises(NhError, match="keeps no records"):
            client.request(ShowEnded(b"x"))


def test_a_handler_that_fails_costs_its_own_command_only(
    listener: socket.socket, ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_helper: Helper, _command: Command) -> object:
        raise ZeroDivisionError

    server = serve(listener, ports)
    server.commands["ping"] = broken
    with running(server), NativeClient(address_of(listener)) as client:
        with pytest.raises(NhError, match="'ping' failed"):
            client.request(Ping())
        assert isinstance(client.request(GetStats()), Stats)
    assert "ZeroDivisionError" in caplog.text


def test_a_command_can_be_taken_out(listener: socket.socket, ports: tuple[int, int]) -> None:
    server = serve(listener, ports)
    del server.commands["ping"]
    with running(server), NativeClient(address_of(listener)) as client, pytest.raises(UnknownCommand):
        client.request(Ping())


def test_a_relay_in_a_program_drains_as_the_program_says(
    listener: socket.socket, ports: tuple[int, int]
) -> None:
    server = serve(listener, ports)
    with running(server), NativeClient(address_of(listener)) as client, MediaPeer("127.0.0.1") as caller:
        with pytest.raises(UnknownCommand, match=r"helper\.draining"):
            client.request(Drain())
        server.helper.draining = True
        assert Client(address_of(listener)).allocate_sockets(KEY, 0, "127.0.0.1", media(caller)) is None
        assert server.helper.calls == 0
        server.helper.draining = False
        assert Client(address_of(listener)).allocate_sockets(KEY, 0, "127.0.0.1", media(caller))


def test_closing_a_server_frees_every_port(listener: socket.socket, ports: tuple[int, int]) -> None:
    server = serve(listener, ports)
    with running(server), MediaPeer("127.0.0.1") as caller, MediaPeer("127.0.0.1") as callee:
        set_up_call(address_of(listener), caller, callee)
    again = Helper(RelayConfig(ports=ports))
    try:
        with MediaPeer("127.0.0.1") as caller:
            for number in range(10):
                key = TransactionKey(b"call-%d" % number, 1, b"caller", b"callee")
                again.allocate_sockets(key, Side.FROM, "127.0.0.1", [Media("127.0.0.1", caller.port, 4)])
    finally:
        again.attach(SelectorLoop())
        again.close()
