"""A real Kamailio with the configuration of docs/how-to/kamailio.md, its media relayed over ng."""

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nh.address import socket_family
from nh.ip_address import host_port
from tests.sip.message import SipMessage, new_token
from tools.harness.own_directory import own_directory
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "kamailio.md"

LISTEN = "listen=udp:192.0.2.10:5060"
SETS_DOCUMENT = DOCUMENT.with_name("sets-of-relays.md")

NODES = "udp:127.0.0.1:2223"
NODES_LINE = f'modparam("rtpengine", "rtpengine_sock", "{NODES}")'
CONTROL = "/run/kamailio/kamailio_ctl"


class Kamailio(NamedTuple):
    """A running Kamailio.

    Args:
        near: where it listens with IPv4.
        far: where it listens with IPv6.
        control: its control socket.
        program: its first process.
    """

    near: tuple[str, int]
    far: tuple[str, int]
    control: Path
    program: Program

    def rpc(self, *arguments: str) -> str:
        """What `kamcmd` prints for a command, once Kamailio has started."""
        kamcmd = _find("kamcmd")
        assert kamcmd is not None
        command = [kamcmd, "-s", f"unix:{self.control}", *arguments]

        said = ""

        def answers() -> list[str]:
            nonlocal said
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr  # at first it may have no control socket yet
            return [done.stdout] if done.returncode == 0 and "Initializing - try later" not in said else []

        return eventually(answers, "Kamailio takes commands", details=lambda: said)[0]


def kamailio_is_installed() -> bool:
    """Whether Kamailio is there, with its module rtpengine."""
    return _find("kamailio") is not None and any(Path("/usr/lib").glob("*/kamailio/modules/rtpengine.so"))


def kamailio_has_websocket() -> bool:
    """Whether it has its module websocket, too."""
    return kamailio_is_installed() and any(Path("/usr/lib").glob("*/kamailio/modules/websocket.so"))


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


EXIT_TIMEOUT = "exit_timeout=2"
"""Kamailio may wait for a process of its own when it ends. It kills that then, by default after a minute."""


@contextlib.contextmanager
def running_kamailio(nodes: Sequence[tuple[str, int, int]]) -> Iterator[Kamailio]:
    """A Kamailio that serves with the module rtpengine, and ends behind the test.

    Args:
        nodes: host, port and weight of the relays.
    """
    sockets = " ".join(f"udp:{host}:{port}={weight}" for host, port, weight in nodes)
    with running_documented(DOCUMENT, {NODES: sockets}) as kamailio:
        yield kamailio


@contextlib.contextmanager
def running_documented(document: Path, changes: Mapping[str, str]) -> Iterator[Kamailio]:
    """A Kamailio with the configuration of a page, and ends behind the test.

    Args:
        document: the page.
        changes: what is other than in the page; addresses of Kamailio's own are changed anyway.
    """
    path = _find("kamailio")
    assert path is not None
    with claim_ports(1) as claimed, own_directory() as directory:
        near, far = ("127.0.0.1", claimed[0]), ("::1", claimed[0])
        control = directory / "ctl"
        listen = f"listen=udp:127.0.0.1:{claimed[0]}\nlisten=udp:[::1]:{claimed[0]}\n{EXIT_TIMEOUT}"
        text = _blocks(document)[0]
        for documented, here in {LISTEN: listen, CONTROL: str(control), **changes}.items():
            assert text.count(documented) == 1, f"not once in {document}: {documented}"
            text = text.replace(documented, here)
        configuration = directory / "kamailio.cfg"
        configuration.write_text(text)
        arguments = [path, "-f", str(configuration), "-DD", "-E", "-m", "32", "-M", "4"]
        arguments += ["-Y", str(directory), "-w", str(directory)]
        with Program(arguments) as program:
            eventually(lambda: answers(near) and answers(far), "Kamailio answers")
            yield Kamailio(near, far, control, program)


def documented_block(document: Path, what: str) -> str:
    """The part of a page's configuration that contains `what`."""
    [found] = [block for block in _blocks(document) if what in block]
    return found


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A configuration with other words, each of which has to be there."""
    for documented, here in changes.items():
        assert documented in text, f"not in the configuration: {documented}"
        text = text.replace(documented, here)
    return text


def _blocks(document: Path) -> list[str]:
    return re.findall(r"```kamailio\n(.*?)```", document.read_text(), re.DOTALL)


def answers(address: tuple[str, int]) -> bool:
    """Whether an OPTIONS is answered."""
    family = socket_family(address[0])
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        sock.connect(address)
        host, port = sock.getsockname()[:2]
        at, uri = (f"[{host}]" if ":" in host else host), f"sip:{host_port(*address)}"
        headers = [
            ("Via", f"SIP/2.0/UDP {at}:{port};branch=z9hG4bK{new_token()}"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:test@{at}>;tag={new_token()}"),
            ("To", f"<{uri}>"),
            ("Call-ID", new_token()),
            ("CSeq", "1 OPTIONS"),
        ]
        try:
            sock.send(SipMessage(f"OPTIONS {uri} SIP/2.0", headers).encode())
            return SipMessage.parse(sock.recv(65536)).code == 200
        except (TimeoutError, ConnectionRefusedError):
            return False
