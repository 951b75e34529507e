"""Perl's nathelper.pl, from the examples of Net::SIP."""

import gzip
import socket
from pathlib import Path
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.peers.signalling import require_net_sip, set_up_by_perl
from benchmarks.streams import Phones
from tools.harness.ports import free_port
from tools.harness.program import Program

EXAMPLE: Final = Path("/usr/share/doc/libnet-sip-perl/examples/bin/nathelper.pl")
SOCKETS_PER_CALL: Final = 4

WIDER_PORTS: Final = (
    "($Net::SIP::Util::RTP_MIN_PORT, $Net::SIP::Util::RTP_MAX_PORT) = (10000, 60000);"
    " my $script = shift; do $script; die $@ || $!"
)
"""It looks for ports at random among 2000 to 12000; thousands of calls would find few that are free."""


class NatHelper:
    """See Peer. Unmodified, but for more ports."""

    client = "Net::SIP client (Perl)"
    patience_s = 30.0

    def __init__(self) -> None:
        self.max_calls = descriptor_limit() // SOCKETS_PER_CALL
        self.why_not_more = (
            f"it is one process with 4 sockets a call, and the descriptor limit here is {descriptor_limit()}"
        )
        require_net_sip()
        if not (EXAMPLE.exists() or _packed().exists()):
            raise NotHere(f"there is no {EXAMPLE} (Debian: libnet-sip-perl)")
        self._process: Program | None = None
        self._site: Site | None = None

    def start(self, site: Site) -> None:
        """Run it."""
        script = EXAMPLE
        if not script.exists():
            script = site.directory / "nathelper.pl"
            script.write_bytes(gzip.decompress(_packed().read_bytes()))
        port = free_port()
        self._site, self._rpc = site, f"127.0.0.1:{port}"
        command = ["perl", "-MNet::SIP::Util", "-e", WIDER_PORTS, str(script), self._rpc]
        self._process = Program(command, cpus=[site.cpu])
        self._process.wait_until(lambda: _listens(port), "listening")

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Through the Perl client."""
        assert self._site is not None
        return set_up_by_perl(self._rpc, self._site.address, self._site.client_cpu, numbers, phones)

    def pids(self) -> list[int]:
        """Its one process."""
        return [self._process.pid] if self._process else []

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.close()


def _packed() -> Path:
    return EXAMPLE.with_name("nathelper.pl.gz")


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
