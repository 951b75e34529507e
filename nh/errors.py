"""The errors that nh raises on purpose.

    NhError
    ├── ConfigError             a setting, flag or file cannot be used, now or later
    ├── NotNow                  the host does not give what a setting names, and may do so later
    │   └── DirectoryInUse      another nh uses the directory
    ├── ProtocolError           bytes or fields from a peer break the protocol
    │   ├── MalformedFrame      the stream cannot be followed any further: the connection ends
    │   ├── MalformedRequest    one request cannot be read; the next one may be valid
    │   └── UnknownCommand      a well-formed request names a command that nh does not have
    ├── SnapshotUnreadable      a call's snapshot has another version, is damaged or contradicts itself
    ├── Refused                 the relay's rules do not allow a well-formed request
    │   ├── UnknownCall         no such call, transaction or session
    │   ├── StaleTransaction    the cseq is below the latest one, or its transaction was replaced
    │   ├── NotAllocated        one side of the session has no sockets
    │   ├── WrongDialog         an answer without an offer, or ends of different dialogs
    │   ├── UnusableSdp         the SDP cannot be read
    │   ├── IncompleteSdp       the SDP lacks something that a relay needs
    │   ├── SdpTooLong          the SDP would be too long with what has to be added
    │   ├── Unsupported         the client asks for something that nh does not do
    │   ├── SocketCountMismatch offer and answer need different numbers of sockets
    │   ├── Draining            a new call during a drain
    │   ├── LimitReached        max_calls, max_sockets, max_cpu or another limit is reached
    │   ├── PortsExhausted      no run of consecutive ports is free
    │   │   └── SocketsExhausted    the system has no descriptors or memory for sockets
    │   └── AddressUnavailable  this host cannot bind the address
    └── Unavailable             the process that would execute the command does not answer
        ├── NotRunning          no process serves the address
        ├── ShardUnavailable    the call's shard is down, starting, or overloaded
        ├── ChannelFull         the process at the other end of the internal link does not read
        ├── CommandTimeout      no answer within the time limit
        ├── StatsUnavailable    no readable statistics: no nh runs, or one of another version
        ├── StoreUnavailable    the store of calls cannot be opened or written
        └── KernelPathUnavailable   the kernel rejects a part of the kernel path
            └── KernelTableFull     the table of flows is full

`code` is `error.code` of the native protocol; the set is small and fixed (docs/reference/protocol.md).
Knows nothing of wires, calls or processes.
"""

from collections.abc import Mapping
from typing import ClassVar, Final


class NhError(Exception):
    """Any error of nh's.

    Attributes:
        code: the native protocol's error code.
    """

    code: ClassVar[str] = "internal"


class ConfigError(NhError):
    """A setting cannot be used; the message says which, why, and what to set instead."""


class NotNow(NhError):
    """A setting can be used, but not now: what it names is in use, or is not on this host yet.

    The exit status of `nh run` differs from that of a ConfigError: a service manager starts nh again.
    """


class DirectoryInUse(NotNow):
    """Another nh uses the directory; the message has its process id."""


class ProtocolError(NhError):
    """A peer broke its protocol."""

    code = "bad_request"


class MalformedFrame(ProtocolError):
    """Framing is lost: nothing behind this point of the stream can be read."""


class MalformedRequest(ProtocolError):
    """One request cannot be read; the message says what is wrong and where."""


class UnknownCommand(ProtocolError):
    """The request names a command that does not exist."""

    code = "unknown_command"


class SnapshotUnreadable(NhError):
    """A snapshot has another version, is damaged or contradicts itself: its call cannot be restored."""


class Refused(NhError):
    """The relay's rules do not allow the request (in Net::SIP's protocol the reply is undef)."""

    code = "refused"


class UnknownCall(Refused):
    """The call, transaction or pair of ends does not exist."""

    code = "not_found"


class StaleTransaction(Refused):
    """The transaction is older than the latest one of the same sender, or was replaced."""

    code = "stale"


class NotAllocated(Refused):
    """The session has no sockets on one side, so it cannot be activated."""

    code = "not_allocated"


class WrongDialog(Refused):
    """The answer has no offer, or the two ends belong to different dialogs."""

    code = "bad_dialogue"


class UnusableSdp(Refused):
    """The SDP cannot be read; the message says where and why."""

    code = "bad_sdp"


class IncompleteSdp(Refused):
    """The SDP lacks what a relay needs, such as an address."""

    code = "incomplete_sdp"


class SdpTooLong(Refused):
    """The SDP would be too long with what has to be added; the message has its size and the limit."""

    code = "sdp_rewrite"


class Unsupported(Refused):
    """The client asks for something that nh does not do and must not ignore."""

    code = "unsupported"


class SocketCountMismatch(Refused):
    """The two sides have different numbers of sockets, so they cannot be paired."""

    code = "mismatch"


class LimitReached(Refused):
    """A configured limit would be exceeded; the message names it.

    Args:
        message: the limit, and by what it is reached.
        setting: the setting that refuses new calls; "": the limit is one of a single call.
    """

    code = "limit"

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class Draining(Refused):
    """The relay drains: calls continue, new ones are refused."""

    code = "draining"


class PortsExhausted(Refused):
    """No run of consecutive ports is free; the message says what to change."""

    code = "no_ports"


class SocketsExhausted(PortsExhausted):
    """Ports are free, but the system has no descriptors or memory for their sockets."""


class AddressUnavailable(Refused):
    """This host cannot bind the address."""

    code = "bad_address"


class Unavailable(NhError):
    """The process that would execute the command does not answer."""

    code = "unavailable"


class NotRunning(Unavailable):
    """No process serves the address: nh is not started, was killed, or serves another address."""


class ShardUnavailable(Unavailable):
    """The shard of this call is down, starting, or has too many commands waiting."""


class ChannelFull(Unavailable):
    """Too many records wait on the internal link, because the process at the other end does not read."""


class CommandTimeout(Unavailable):
    """No answer within the time limit; the command may still be executed."""

    code = "timeout"


class StatsUnavailable(Unavailable):
    """The statistics in shared memory cannot be created or read; the message says where and why."""


class StoreUnavailable(Unavailable):
    """The store of calls cannot be opened or written; the message says where and why."""


class KernelPathUnavailable(Unavailable):
    """The kernel rejects a part of the kernel path, so nh relays in user space.

    Args:
        message: the operation and the kernel's error, with the end of the verifier's log if there is one.
        errno: the kernel's error number.
    """

    def __init__(self, message: str, *, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class KernelTableFull(KernelPathUnavailable):
    """The kernel's table of flows is full; the flow stays in user space."""


ERRORS_BY_CODE: Final[Mapping[str, type[NhError]]] = {
    error.code: error
    for error in (
        MalformedRequest,
        UnknownCommand,
        UnknownCall,
        StaleTransaction,
        NotAllocated,
        SocketCountMismatch,
        WrongDialog,
        UnusableSdp,
        IncompleteSdp,
        SdpTooLong,
        Unsupported,
        Draining,
        LimitReached,
        PortsExhausted,
        AddressUnavailable,
        Refused,
        Unavailable,
        CommandTimeout,
        NhError,
    )
}
"""The errors that the native protocol tells apart, by `error.code`. NhError stands for a bug in nh."""
