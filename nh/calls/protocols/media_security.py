"""The security of one medium towards one end: SRTP between that end and the relay.

It belongs to the socket group for that end's SDP. The legs that receive from the end, and those that send to
it, share it, so that a key protects an index once, whatever forks and re-INVITEs there are.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from nh.calls.protocols.packet_protocol import DtlsProtocol
from nh.errors import Unsupported
from nh.srtp.keys import MasterKey
from nh.srtp.state import DirectionState

if TYPE_CHECKING:
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender

_BUFFER_BYTES: Final = 65_536 + 256  # as nh.srtp.ciphers needs it

_opened, _sealed = bytearray(_BUFFER_BYTES), bytearray(_BUFFER_BYTES)
"""Where all receivers and all senders of a process write: one loop handles one packet at a time."""


class MediaSecurity:
    """What protects the media between an end and the relay.

    Args:
        tag: of the a=crypto line that was agreed on.
        receiver: of what the end sends; None: its key is not known, nothing of it passes.
        sender: of what the end is sent; None: it is sent nothing.
    """

    __slots__ = ("receiver", "sender", "tag")

    def __init__(
        self, tag: int = 0, receiver: "SrtpReceiver | None" = None, sender: "SrtpSender | None" = None
    ) -> None:
        self.tag = tag
        self.receiver = receiver
        self.sender = sender
        if receiver is not None and sender is not None:
            receiver.sent_offsets = sender.offsets

    @property
    def dtls(self) -> DtlsProtocol | None:
        """What agrees on the keys with the end at the media sockets; None: SDP has them."""
        return None

    def of_component(self, component: int) -> "MediaSecurity":  # noqa: ARG002
        """What protects one of the consecutive ports of a medium, from 0."""
        return self

    @property
    def suite(self) -> str:
        """The name of the crypto suite, "" while no key is known."""
        return "" if self.receiver is None else self.receiver.master.suite.name

    @property
    def handshake(self) -> str:
        """How far DTLS is with keys, for people; "" if they are there, or in the SDP."""
        return ""

    @property
    def checkpoint_due(self) -> bool:
        """Whether a successor has to know soon where the keys are."""
        receiver, sender = self.receiver, self.sender
        return (receiver is not None and receiver.checkpoint_due) or (
            sender is not None and sender.checkpoint_due
        )

    @property
    def renumbered(self) -> bool:
        """Whether a successor has to know where the keys are before the packet at hand is sent."""
        return self.sender is not None and self.sender.renumbered

    def clear_checkpoint_due(self) -> None:
        """Note that the state is going to be saved, or has been."""
        if self.receiver is not None:
            self.receiver.checkpoint_due = False
        if self.sender is not None:
            self.sender.checkpoint_due = self.sender.renumbered = False


class OptionalKey(NamedTuple):
    """An a=crypto line of an end that offers SRTP and takes plain RTP, too (OSRTP, RFC 8643).

    Attributes:
        tag: of the line.
        master: what the end would send with.
    """

    tag: int
    master: MasterKey


class OfferedKey:
    """An a=crypto line that the relay offers to an end.

    Args:
        tag: of the line.
        master: its key.
        sender: the one sender with this key, through which every end is sent media that takes the line; None:
            no end has taken it yet.
    """

    __slots__ = ("_sender", "master", "tag")

    def __init__(self, tag: int, master: MasterKey, sender: "SrtpSender | None" = None) -> None:
        self.tag = tag
        self.master = master
        self._sender = sender

    @property
    def sender(self) -> "SrtpSender | None":
        """See above."""
        return self._sender

    def take(self) -> "SrtpSender":
        """The sender, made for the first end that takes the line."""
        if self._sender is None:
            self._sender = new_sender(self.master)
        return self._sender


def require_srtp() -> None:
    """Check that packets can be protected.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    try:
        import nh.srtp.sender  # noqa: F401, PLC0415  see new_receiver()
    except ImportError as error:
        raise _not_installed(error) from error


def new_receiver(master: MasterKey, state: DirectionState | None = None) -> "SrtpReceiver":
    """A receiver of SRTP, see nh.srtp.receiver.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    try:
        # most relays never get here, and it takes 0.1 s
        from nh.srtp.receiver import SrtpReceiver  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(error) from error
    return SrtpReceiver(master, _opened, state)


def new_sender(master: MasterKey, state: DirectionState | None = None) -> "SrtpSender":
    """A sender of SRTP, see nh.srtp.sender.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    try:
        from nh.srtp.sender import SrtpSender  # noqa: PLC0415  see above
    except ImportError as error:
        raise _not_installed(error) from error
    return SrtpSender(master, _sealed, state)


def _not_installed(error: ImportError) -> Unsupported:
    return Unsupported(
        f"SRTP on one side of a call: {error.name} is not installed; nh needs its extra `srtp`"
    )
