"""The relays that nh is compared with: Debian's rtpengine, and nathelper.pl of Perl's Net::SIP."""

import contextlib
import gzip
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tools.harness.own_directory import own_directory
from tools.harness.program import Program

PING: Final = b"1 d7:command4:pinge"
PONG_S: Final = 1.0

QUIET: Final = "--log-level=3"
"""An option of rtpengine's: without it, a line for each command is a part of what is measured."""

NATHELPER: Final = Path("/usr/share/doc/libnet-sip-perl/examples/bin/nathelper.pl")
NATHELPER_PACKED: Final = NATHELPER.with_name("nathelper.pl.gz")
"""Debian packs examples on some installations."""


def rtpengine_command(ng: str, ports: range, interfaces: Iterable[str], *options: str) -> list[str]:
    """The command line of rtpengine in user space, without a configuration file.

    Args:
        ng: HOST:PORT of its ng protocol, by UDP.
        ports: its media ports.
        interfaces: ADDRESS or NAME/ADDRESS of each.
        options: further options.
    """
    command = ["rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--table=-1"]
    command += [f"--interface={interface}" for interface in interfaces]
    command += [f"--listen-ng={ng}", f"--port-min={ports[0]}", f"--port-max={ports[-1]}"]
    return [*command, *options]


@contextlib.contextmanager
def running_rtpengine(
    ng: str, ports: range, interfaces: Iterable[str], *options: str, cpus: Iterable[int] | None = None
) -> Iterator[Program]:
    """rtpengine that answers, whatever it logs.

    Args:
        ng, ports, interfaces, options: see `rtpengine_command`.
        cpus: the CPUs that it may use; None: those of this process.
    """
    with Program(rtpengine_command(ng, ports, interfaces, *options), cpus=cpus) as program:
        program.wait_until(lambda: _answers(ng), "answering")
        yield program


def has_nathelper() -> bool:
    """Whether nathelper.pl is installed."""
    return NATHELPER.exists() or NATHELPER_PACKED.exists()


@contextlib.contextmanager
def running_nathelper(
    port: int, *, perl: Sequence[str] = ("perl",), cpus: Iterable[int] | None = None
) -> Iterator[Program]:
    """nathelper.pl, which listens at a TCP port of 127.0.0.1.

    Args:
        port: the port.
        perl: the interpreter with its options.
        cpus: the CPUs that it may use; None: those of this process.
    """
    with own_directory() as directory:
        script = NATHELPER
        if not script.exists():
            script = Path(directory, "nathelper.pl")
            script.write_bytes(gzip.decompress(NATHELPER_PACKED.read_bytes()))
        with Program([*perl, str(script), f"127.0.0.1:{port}"], cpus=cpus) as program:
            program.wait_until(lambda: _listens(port), "listening")
            yield program


def _answers(ng: str) -> bool:
    host, _, port = ng.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PONG_S)
        try:
            sock.connect((host, int(port)))
            sock.send(PING)
            return b"pong" in sock.recv(2048)
        except OSError:  # nothing is there yet, or it is slow
            return False


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
