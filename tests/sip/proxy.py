"""A real Net::SIP::StatelessProxy between two networks, and calls of two phones through it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.sip.message import SipMessage, host_port_of
from tests.sip.phone import Phone
from tools.harness.media_peer import RTCP, RTP

PROXY = Path(__file__).parents[1] / "netsip" / "perl" / "proxy.pl"

NEAR = "127.0.0.1"
FAR = "127.0.0.2"

Legs = tuple[tuple[str, int], tuple[str, int]]


@contextlib.contextmanager
def running_proxy(helper: str, near: str = NEAR, far: str = FAR) -> Iterator[Legs]:
    """proxy.pl with the NAT helper at `helper`; where its two legs listen."""
    with subprocess.Popen(
        ["perl", str(PROXY), helper, near, far], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        legs = process.stdout.readline().split()
        assert len(legs) == 2, "proxy.pl did not start; what it said is on standard error"
        yield host_port_of(f"sip:{legs[0]}"), host_port_of(f"sip:{legs[1]}")
        assert process.poll() is None, f"the proxy died with status {process.returncode}"
        process.communicate(timeout=20)  # it ends with its standard input
    assert process.returncode == 0


def ring(caller: Phone, callee: Phone) -> SipMessage:
    """INVITE and 180; the INVITE as the callee has it."""
    caller.invite(callee)
    invite = callee.receive_request("INVITE")
    callee.answer(invite, 180)
    caller.receive_response(180)
    return invite


def establish(caller: Phone, callee: Phone) -> None:
    """A call from INVITE to ACK."""
    invite = ring(caller, callee)
    callee.answer(invite, 200, sdp=True)
    caller.ack(caller.receive_response(200))
    callee.receive_request("ACK")


def hang_up(ending: Phone, other: Phone) -> None:
    """BYE and 200."""
    ending.bye()
    other.answer(other.receive_request("BYE"), 200)
    ending.receive_response(200, "BYE")


def talk(one: Phone, other: Phone, components: tuple[int, ...] = (RTP, RTCP)) -> None:
    """Every medium of either phone arrives at the other, RTP and RTCP."""
    for number in range(len(one.media)):
        for component in components:
            for speaker, listener in ((one, other), (other, one)):
                payload = f"{speaker.user} on {number}.{component}".encode()
                speaker.media[number].send(payload, speaker.remote_media[number].target, component)
                received, source = listener.media[number].receive(component)
                address, port = listener.remote_media[number].target
                assert received == payload
                assert source == (address, port + component), "not from where the listener sends to"
