"""nh.rpc.listeners: who may connect, and what is never deleted."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.address import RpcAddress, TcpAddress, UnixAddress
from nh.errors import ConfigError, NotNow
from nh.ipc.handover_messages import HandoverMessage
from nh.ipc.inherited import Inherited
from nh.rpc.listeners import Listener, open_listeners
from nh.rpc.protocols import NG, RPC
from nh.rpc.unix_sockets import admit_group
from tools.harness.ports import claim_ports


@contextlib.contextmanager
def listening(
    *addresses: RpcAddress, mode: int = 0o600, group: int | None = None, public: bool = False
) -> Iterator[list[Listener]]:
    listeners = open_listeners(RPC, addresses, mode=mode, group=group, public=public)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(20)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, mask: int) -> None:
    path = tmp_path / "rpc"
    with umask(mask), listening(UnixAddress(str(path)), mode=mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert connects(path)


def test_a_unix_socket_is_never_open_to_more_than_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rpc"
    seen: list[int] = []
    chmod = Path.chmod

    def look_before_chmod(self: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(self.stat().st_mode))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", look_before_chmod)
    with umask(0), listening(UnixAddress(str(path)), mode=0o600):
        assert seen == [0o600]


def test_a_unix_socket_is_its_owners_alone_until_it_has_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rpc"
    seen: list[int] = []
    monkeypatch.setattr(
        os, "chown", lambda given, uid, _gid: seen.extend([uid, stat.S_IMODE(given.stat().st_mode)])
    )
    with umask(0), listening(UnixAddress(str(path)), mode=0o660, group=os.getegid() + 1):
        assert seen == [-1, 0o600]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_own_group_needs_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chown", refused)
    path = tmp_path / "rpc"
    admit_group(tmp_path, tmp_path.stat().st_gid)
    with listening(UnixAddress(str(path)), mode=0o660, group=tmp_path.stat().st_gid):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_group_that_nh_may_not_give_a_socket_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chown", refused)
    path = tmp_path / "rpc"
    with (
        pytest.raises(ConfigError, match=r"rpc_group: .*rpc cannot be given to group 47001"),
        listening(UnixAddress(str(path)), mode=0o660, group=47_001),
    ):
        pass
    assert not path.exists()
    with pytest.raises(ConfigError, match="add the proxy's user to the group of nh's user"):
        admit_group(tmp_path, 47_001)


def refused(*_arguments: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o660), (0o660, 0o600)])
def test_a_socket_that_was_handed_over_gets_the_mode_of_the_new_settings(
    tmp_path: Path, before: int, after: int
) -> None:
    path = tmp_path / "rpc"
    with listening(UnixAddress(str(path)), mode=before) as handed_over, inherited(handed_over, mode=after):
        assert stat.S_IMODE(path.stat().st_mode) == after
        assert connects(path)


def test_a_socket_that_was_handed_over_gets_its_new_group_while_no_group_may_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rpc"
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "chown", lambda at, _uid, gid: given.append((gid, stat.S_IMODE(at.stat().st_mode)))
    )
    with (
        listening(UnixAddress(str(path)), mode=0o660) as handed_over,
        inherited(handed_over, mode=0o660, group=47_001),
    ):
        assert given == [(47_001, 0o600)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_socket_that_was_handed_over_is_served_on_if_its_group_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rpc"
    monkeypatch.setattr(os, "chown", refused)
    with (
        listening(UnixAddress(str(path)), mode=0o660) as handed_over,
        inherited(handed_over, mode=0o660, group=47_001),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, "the new group shall not be the old one"
        assert connects(path)
    assert f"rpc: {path} cannot be given rpc_mode and rpc_group: Operation not permitted" in caplog.text


def test_a_socket_that_was_handed_over_may_have_lost_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rpc"
    with listening(UnixAddress(str(path))) as handed_over:
        path.unlink()
        with inherited(handed_over, mode=0o660):
            pass
    assert not caplog.messages, "it is made anew, with mode and group"


def test_what_has_taken_the_place_of_a_socket_keeps_its_permissions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, private = tmp_path / "rpc", tmp_path / "private"
    private.touch(mode=0o600)
    with listening(UnixAddress(str(path))) as handed_over:
        path.unlink()
        path.symlink_to(private)
        with inherited(handed_over, mode=0o660):
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert f"{path} cannot be given rpc_mode and rpc_group: Socket operation on non-socket" in caplog.text


@contextlib.contextmanager
def inherited(listeners: list[Listener], mode: int, group: int | None = None) -> Iterator[None]:
    """The next process listens on the same sockets."""
    handed_over = [each for listener in listeners for each in listener.handed_over]
    message = HandoverMessage(listeners=tuple(what for what, _ in handed_over))
    addresses = [listener.address for listener in listeners]
    fds = Inherited(message, [os.dup(sock.fileno()) for _, sock in handed_over])
    taken = open_listeners(RPC, addresses, mode=mode, group=group, inherited=fds)
    try:
        yield
    finally:
        for listener in taken:
            listener.close()


def test_a_mistyped_path_makes_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "rnu" / "rpc"
    with pytest.raises(ConfigError, match=f"there is no directory {path.parent}; make it"):
        open_listeners(RPC, [UnixAddress(str(path))])
    assert not path.parent.exists()


def test_a_socket_file_without_a_listener_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rpc"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    assert not connects(path)
    with listening(UnixAddress(str(path))):
        assert connects(path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_socket_file_with_a_listener_is_left_alone(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "rpc"
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(NotNow, match="listens on it"), listening(UnixAddress(str(path))):
            pass
        assert path.is_socket()


def test_a_socket_with_a_full_backlog_has_a_listener(tmp_path: Path) -> None:
    path = tmp_path / "rpc"
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        other.bind(str(path))
        other.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))
        with pytest.raises(NotNow, match="listens on it"), listening(UnixAddress(str(path))):
            pass


def test_what_is_no_socket_is_never_deleted(tmp_path: Path) -> None:
    path = tmp_path / "rpc"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is not a socket"), listening(UnixAddress(str(path))):
        pass
    assert path.read_text() == "precious"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="is not a socket"), listening(UnixAddress(str(link))):
        pass
    assert link.is_symlink()


def test_the_socket_file_goes_with_its_listener_unless_it_is_another_ones(tmp_path: Path) -> None:
    path = tmp_path / "rpc"
    with listening(UnixAddress(str(path))):
        pass
    assert not path.exists()
    with listening(UnixAddress(str(path))):
        path.rename(tmp_path / "moved")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(path))
    assert path.is_socket()


def test_a_failure_leaves_none_of_the_sockets_behind(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    bad.touch()
    with pytest.raises(ConfigError), listening(UnixAddress(str(good)), UnixAddress(str(bad))):
        pass
    assert not good.exists()


def test_tcp_listens_and_says_on_which_port() -> None:
    with listening(TcpAddress("127.0.0.1", 0)) as (listener,):
        assert isinstance(listener.address, TcpAddress)
        with socket.create_connection((listener.address.host, listener.address.port)):
            pass


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 here"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", IPV6])
def test_every_loopback_address_will_do(host: str) -> None:
    with listening(TcpAddress(host, 0)):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_addresses_are_refused_without_the_operators_word(host: str) -> None:
    with pytest.raises(ConfigError, match=r"is not loopback.*--rpc-public"), listening(TcpAddress(host, 0)):
        pass


def test_other_addresses_are_allowed_by_the_operators_word() -> None:
    # 127.0.0.0/8 aside, nothing may be bound in a test; that the check is passed shows in the next error
    with (
        pytest.raises(NotNow, match="does not have the address"),
        listening(TcpAddress("192.0.2.1", 0), public=True),
    ):
        pass


def test_a_tcp_port_in_use_and_a_bad_name_are_explained() -> None:
    with listening(TcpAddress("127.0.0.1", 0)) as (listener,):
        with pytest.raises(NotNow, match="another program, listens on it"), listening(listener.address):
            pass
        with pytest.raises(NotNow, match="cannot be resolved"), listening(TcpAddress("no host", 1)):
            pass


# --- ng: UDP and TCP on one port, or neither ------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_each_ng_address_has_udp_and_tcp_on_one_port(host: str) -> None:
    for listener in open_listeners(NG, [TcpAddress(host, 0), TcpAddress(host, 0)]):
        assert listener.udp is not None
        assert listener.udp.getsockname() == listener.sock.getsockname()
        assert str(listener).endswith(f":{listener.udp.getsockname()[1]}")
        listener.close()


def test_each_socket_of_an_address_is_handed_over_by_its_name(tmp_path: Path) -> None:
    asked: list[RpcAddress] = [UnixAddress(str(tmp_path / "nh.sock")), TcpAddress("127.0.0.1", 0)]
    unix, tcp = (str(address) for address in asked)
    local, listener = open_listeners(RPC, asked)
    assert list(local.handed_over) == [(("unix", unix), local.sock)]
    assert list(listener.handed_over) == [(("tcp", tcp), listener.sock)]
    (ng,) = open_listeners(NG, asked[1:])
    assert list(ng.handed_over) == [(("ng-tcp", tcp), ng.sock), (("ng-udp", tcp), ng.udp)]
    for each in (local, listener, ng):
        each.close()


def test_an_ng_address_that_is_not_loopback_needs_permission() -> None:
    with pytest.raises(ConfigError, match=r"ng: 0\.0\.0\.0:0: 0\.0\.0\.0 is not loopback.*rpc_public"):
        open_listeners(NG, [TcpAddress("0.0.0.0", 0)])
    (listener,) = open_listeners(NG, [TcpAddress("0.0.0.0", 0)], public=True)
    listener.close()


def test_one_ng_address_that_is_taken_leaves_none_open() -> None:
    with claim_ports(2) as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", ports[0]))
        addresses = [TcpAddress("127.0.0.1", ports[1]), TcpAddress("127.0.0.1", ports[0])]
        with pytest.raises(NotNow, match=r"ng: .*UDP.*choose another port"):
            open_listeners(NG, addresses)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", ports[1]))
