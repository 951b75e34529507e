"""The relays that nh is compared with: Debian's rtpengine, and nathelper.pl of Perl's Net::SIP."""

import contextlib
import gzip
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tools.harness.own_directory import own_directory
from tools.harness.program import Program

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
def running_rtpengine(ng: str, ports: range, interfaces: Iterable[str], *options: str) -> Iterator[Program]:
    """rtpengine, ready. See `rtpengine_command`."""
    with Program(rtpengine_command(ng, ports, interfaces, *options)) as program:
        program.wait_for_line("Startup complete")
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


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
