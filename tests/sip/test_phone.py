"""The phones of the tests: what a proxy sends again to one that is late is read once."""

import socket

from tests.sip.message import host_port_of
from tests.sip.phone import Phone

HOST = "127.0.0.1"


def test_a_request_that_is_sent_again_is_no_other_one() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy:
        proxy.bind((HOST, 0))
        proxy.settimeout(20)
        with (
            Phone("alice", HOST, proxy.getsockname()) as alice,
            Phone("bob", HOST, proxy.getsockname()) as bob,
        ):
            alice.invite(bob)
            invite = proxy.recv(65_536)
            for _ in range(3):
                proxy.sendto(invite, host_port_of(bob.uri))
            alice.cancel()
            proxy.sendto(proxy.recv(65_536), host_port_of(bob.uri))
            bob.receive_request("INVITE")
            bob.receive_request("CANCEL")
