"""One handshake of DTLS 1.2 over pyOpenSSL: datagrams in, datagrams out."""

from typing import Final

from OpenSSL import SSL

from nh.dtls.fingerprints import Fingerprint, any_matches
from nh.dtls.identity import Identity
from nh.dtls.problem import Problem
from nh.dtls.profiles import EXPORTER_LABEL, PROFILES, AgreedKeys, exported_bytes, keys_of
from nh.dtls.records import pack, split

MTU_BYTES: Final = 1200
"""Longest datagram: it passes every path that carries media."""

_READ_BYTES: Final = 65_536


class Handshake:
    """One handshake.

    Args:
        identity: the relay's certificate.
        fingerprints: of the peer's.
        server: the peer begins.
        source: identifies the peer for the cookie.
        listens: first send a cookie, and go on with a ClientHello that has it (RFC 6347 4.2.1).

    Attributes:
        running: neither done nor failed.
        keys: what was agreed on; None until then.
        problem: why it failed, None if it did not.
    """

    __slots__ = (
        "_connection",
        "_fingerprints",
        "_listens",
        "_output",
        "_refused",
        "_server",
        "keys",
        "problem",
        "running",
        "source",
    )

    def __init__(
        self,
        identity: Identity,
        fingerprints: tuple[Fingerprint, ...],
        *,
        server: bool,
        source: bytes = b"",
        listens: bool = False,
    ) -> None:
        self.source = source
        self.running = True
        self.keys: AgreedKeys | None = None
        self.problem: Problem | None = None
        self._fingerprints = fingerprints
        self._server = server
        self._listens = listens
        self._refused = False
        self._output: list[bytes] = []
        self._connection = SSL.Connection(identity.context)
        self._connection.set_app_data(self)
        self._connection.set_ciphertext_mtu(MTU_BYTES)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()

    @property
    def listens(self) -> bool:
        """Whether no ClientHello with a cookie has come yet."""
        return self._listens

    def begin(self) -> None:
        """Send the first flight, as the client."""
        self._advance()

    def receive(self, datagram: bytes) -> None:
        """Handle one datagram of the peer."""
        if self.running:
            self._connection.bio_write(datagram)
            self._advance()

    def timeout(self) -> float | None:
        """Seconds until on_timer() is due; None: no timer runs."""
        return self._connection.DTLSv1_get_timeout() if self.running else None

    def on_timer(self) -> None:
        """Repeat the last flight, if it is time."""
        if not self.running:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._fail(Problem.TIMEOUT)
        self._flush()

    def take_output(self) -> list[bytes]:
        """The datagrams to send now."""
        output, self._output = self._output, []
        return output

    def accepts(self, certificate: bytes) -> bool:
        """Whether the peer may have a certificate (DER)."""
        self._refused = not any_matches(self._fingerprints, certificate)
        return not self._refused

    def close(self) -> None:
        """Free its memory: 90 KiB. The garbage collector would come too late."""
        self.running = False
        self._connection.set_app_data(None)

    def _advance(self) -> None:
        try:
            if self._listens:
                self._connection.DTLSv1_listen()
                self._listens = False
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._fail(Problem.FINGERPRINT if self._refused else Problem.FAILED)
        else:
            self._finish()
        self._flush()

    def _finish(self) -> None:
        self.running = False
        profile = self._connection.get_selected_srtp_profile().decode()
        if profile not in PROFILES:
            self.problem = Problem.PROFILE
            return
        exported = self._connection.export_keying_material(EXPORTER_LABEL, exported_bytes(profile))
        self.keys = keys_of(profile, exported, server=self._server)

    def _fail(self, problem: Problem) -> None:
        self.running = False
        self.problem = problem

    def _flush(self) -> None:
        try:
            data = self._connection.bio_read(_READ_BYTES)
        except SSL.Error:  # there is nothing
            return
        self._output += pack(split(data), MTU_BYTES)
