"""Two ends of DTLS without a network: datagrams go from one to the other as a test wants it."""

import functools
import time
from collections.abc import Callable, Sequence

from nh.dtls.association import Association
from nh.dtls.attempts import Budget
from nh.dtls.fingerprints import Fingerprint, fingerprint_of
from nh.dtls.identity import Identity, new_certificate

CLIENT, SERVER = "client", "server"
"""The sources of both ends."""

Deliver = Callable[[list[bytes]], list[bytes]]
"""What arrives of the datagrams of one flight."""


@functools.cache
def identity(name: str) -> Identity:
    """The certificate of an end: one for each name."""
    return Identity(new_certificate(wall=time.time()))


def fingerprints_of(name: str, *algorithms: str) -> tuple[Fingerprint, ...]:
    """Those of an end's certificate."""
    der = identity(name).certificate.der
    return tuple(fingerprint_of(der, each) for each in algorithms or ("sha-256",))


class Pair:
    """A client and a server.

    Args:
        of_client, of_server: the fingerprints that the other end knows.
        validated: ICE has validated both.
    """

    def __init__(
        self,
        *,
        of_client: Sequence[Fingerprint] | None = None,
        of_server: Sequence[Fingerprint] | None = None,
        validated: bool = True,
        budget: Budget | None = None,
    ) -> None:
        self.now = 0.0
        self.validated = validated
        self.budget = budget or Budget()
        expected_by_client = fingerprints_of(SERVER) if of_server is None else of_server
        expected_by_server = fingerprints_of(CLIENT) if of_client is None else of_client
        self.client = Association(identity(CLIENT), expected_by_client, active=True, budget=Budget())
        self.server = Association(identity(SERVER), expected_by_server, active=False, budget=self.budget)

    def to_server(self, datagrams: Sequence[bytes], source: str = CLIENT) -> None:
        for each in datagrams:
            self.server.receive(each, source, validated=self.validated, answers=True, now=self.now)

    def to_client(self, datagrams: Sequence[bytes]) -> None:
        for each in datagrams:
            self.client.receive(each, SERVER, validated=self.validated, answers=True, now=self.now)

    def from_client(self) -> list[bytes]:
        return [each.payload for each in self.client.take_output()]

    def from_server(self) -> list[bytes]:
        return [each.payload for each in self.server.take_output()]

    def begin(self) -> None:
        assert self.client.timer_at == 0
        self.client.on_timer(now=self.now)

    def exchange(self, deliver: Deliver = list, *, flights: int = 12) -> None:
        """Let flights go to and fro until neither has anything to say."""
        for _ in range(flights):
            said = self.from_client()
            self.to_server(deliver(said))
            answered = self.from_server()
            self.to_client(deliver(answered))
            if not said and not answered:
                return

    def agree(self) -> bool:
        """Whether both have the same keys."""
        ours, theirs = self.server.take_agreed(), self.client.take_agreed()
        if ours is None or theirs is None:
            return False
        assert (ours.receive, ours.send) == (theirs.send, theirs.receive)
        return True
