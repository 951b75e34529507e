"""nh.rpc.ng.listeners: UDP and TCP on one port, or neither."""

import socket

import pytest

from nh.address import TcpAddress
from nh.errors import ConfigError
from nh.rpc.ng.listeners import open_ng_listeners
from tools.harness.ports import claim_ports


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_each_address_has_udp_and_tcp_on_one_port(host: str) -> None:
    for listener in open_ng_listeners([TcpAddress(host, 0), TcpAddress(host, 0)], public=False):
        assert listener.udp.getsockname() == listener.tcp.sock.getsockname()
        assert str(listener).endswith(f":{listener.udp.getsockname()[1]}")
        listener.close()


def test_an_address_that_is_not_loopback_needs_permission() -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 is not loopback.*rpc_public"):
        open_ng_listeners([TcpAddress("0.0.0.0", 0)], public=False)
    (listener,) = open_ng_listeners([TcpAddress("0.0.0.0", 0)], public=True)
    listener.close()


def test_one_address_that_is_taken_leaves_none_open() -> None:
    with claim_ports(2) as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", ports[0]))
        addresses = [TcpAddress("127.0.0.1", ports[1]), TcpAddress("127.0.0.1", ports[0])]
        with pytest.raises(ConfigError, match=r"ng address.*UDP.*choose another port"):
            open_ng_listeners(addresses, public=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", ports[1]))
