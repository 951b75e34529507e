"""Perl's nathelper.pl, from the examples of Net::SIP."""

import contextlib
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.peers.signalling import require_net_sip, set_up_by_perl
from benchmarks.streams import Phones
from tools.harness.other_relays import NATHELPER, has_nathelper, running_nathelper
from tools.harness.ports import free_port
from tools.harness.program import Program

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
        if not has_nathelper():
            raise NotHere(f"there is no {NATHELPER} (Debian: libnet-sip-perl)")
        self._exit = contextlib.ExitStack()
        self._process: Program | None = None
        self._site: Site | None = None

    def start(self, site: Site) -> None:
        """Run it."""
        port = free_port()
        self._site, self._rpc = site, f"127.0.0.1:{port}"
        perl = ["perl", "-MNet::SIP::Util", "-e", WIDER_PORTS]
        self._process = self._exit.enter_context(running_nathelper(port, perl=perl, cpus=[site.cpu]))

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """Through the Perl client."""
        assert self._site is not None
        return set_up_by_perl(self._rpc, self._site.address, self._site.client_cpu, numbers, phones)

    def pids(self) -> list[int]:
        """Its one process."""
        return [self._process.pid] if self._process else []

    def stop(self) -> None:
        """End it."""
        self._exit.close()
