"""Snapshots of keys, and of what protects the media of an end. They are secrets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

import msgspec

from nh.calls.media import Endpoint
from nh.calls.protocols.dtls_security import DtlsParameters, DtlsSecurity
from nh.calls.snapshots.values import Index, require, require_index
from nh.dtls.certificate import Certificate
from nh.dtls.fingerprints import MAX_LINES, Fingerprint
from nh.errors import SnapshotUnreadable
from nh.srtp.keys import MasterKey
from nh.srtp.state import DirectionState
from nh.srtp.suites import find_suite

if TYPE_CHECKING:
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender

Tag = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
Digest = Annotated[bytes, msgspec.Meta(max_length=64)]
Flight = Annotated[bytes, msgspec.Meta(max_length=65_535)]


class KeySnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A master key and where it is; its text form tells nothing of it.

    Attributes:
        state: None: nothing has been sent or received with it.
    """

    suite: str
    key: bytes
    salt: bytes
    mki: bytes
    state: DirectionState | None = None

    def __repr__(self) -> str:
        return f"KeySnapshot({self.suite})"

    @classmethod
    def take(cls, master: MasterKey, direction: "SrtpReceiver | SrtpSender | None") -> Self:
        """The snapshot of a key, and of what has been done with it."""
        state = None if direction is None else direction.to_state()
        return cls(master.suite.name, master.key, master.salt, master.mki, state)

    def rebuild(self) -> MasterKey:
        """The key.

        Raises:
            SnapshotUnreadable: it is none of its suite.
        """
        suite = find_suite(self.suite)
        require(suite is not None, "a key of an unknown suite")
        assert suite is not None
        try:
            return MasterKey(suite, self.key, self.salt, self.mki)
        except ValueError as exc:
            raise SnapshotUnreadable(str(exc)) from exc


class DtlsSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a DtlsSecurity has beside its keys: its DtlsParameters, and the end of its handshake.

    Attributes:
        certificate: index of a certificate.
        rtcp: index of the security of RTCP, which comes before this one; None: this is that of RTCP.
        open_role, agreed_source: see DtlsSecurity.
    """

    certificate: Index
    tls_id: Text
    fingerprints: Annotated[list[tuple[Text, Digest]], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    active: bool
    peer_tls_id: Text
    endpoint: Endpoint | None
    last_flight: Annotated[list[Flight], msgspec.Meta(max_length=8)]
    rtcp: Index | None
    open_role: bool = False
    agreed_source: Endpoint | None = None

    @classmethod
    def take(cls, security: DtlsSecurity, certificate: int, rtcp: int | None) -> Self:
        """The snapshot of what `security` has agreed on."""
        parameters = security.parameters
        return cls(
            certificate,
            parameters.tls_id,
            [(each.algorithm, each.digest) for each in parameters.fingerprints],
            parameters.active,
            parameters.peer_tls_id,
            parameters.endpoint,
            list(security.last_flight),
            rtcp,
            security.open_role,
            security.agreed_source,
        )

    def rebuild(self, certificates: Sequence[Certificate]) -> DtlsParameters:
        """The parameters.

        Raises:
            SnapshotUnreadable: there is no such certificate.
        """
        require_index(self.certificate, certificates, "certificate")
        return DtlsParameters(
            certificates[self.certificate],
            self.tls_id,
            tuple([Fingerprint(*each) for each in self.fingerprints]),
            self.active,
            self.peer_tls_id,
            self.endpoint,
        )


class SecuritySnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A MediaSecurity; `sender` is the index of a key. `dtls`: see DtlsSnapshot; None: SDP has the keys."""

    tag: Tag
    receiver: KeySnapshot | None
    sender: Index | None
    dtls: DtlsSnapshot | None = None
