"""Every error that nh raises on purpose.

    NhError
    ├── ConfigError             a setting, flag or file that cannot be used
    │   └── DirectoryInUse      another nh runs with the directory
    ├── ProtocolError           bytes or fields from a peer that are not what the protocol says
    │   ├── MalformedFrame      the stream can no longer be followed: the connection has to go
    │   ├── MalformedRequest    one request cannot be read; the next one may be fine
    │   └── UnknownCommand      a well-formed request for something that nh does not do
    ├── SnapshotUnreadable      a call's snapshot that is of another version, damaged or contradicts itself
    ├── Refused                 a well-formed request that the relay's rules turn down
    │   ├── UnknownCall         no such call, transaction or session
    │   ├── StaleTransaction    a cseq below one that is known, or one that was replaced
    │   ├── NotAllocated        one side of the session has no sockets yet
    │   ├── WrongDialog       an answer without its offer, or ends that do not belong together
    │   ├── UnusableSdp         an SDP that cannot be read
    │   ├── IncompleteSdp       an SDP that lacks what a relay needs
    │   ├── Unsupported         something that a relay, or this one, does not do
    │   ├── SocketCountMismatch offer and answer asked for different numbers of sockets
    │   ├── Draining            a new call while the relay drains
    │   ├── LimitReached        max_calls, max_sockets or max_sockets_in_group
    │   ├── PortsExhausted      no free run of ports
    │   │   └── SocketsExhausted    no descriptors or no memory left for their sockets
    │   └── AddressUnavailable  the address cannot be bound on this host
    └── Unavailable             nothing that could execute the command answers
        ├── ShardUnavailable    the call's shard is down, starting, or overloaded
        ├── ChannelFull         the other side of the internal link does not read
        ├── CommandTimeout      the call's shard did not answer in time
        ├── StatsUnavailable    no statistics that can be read: nothing runs, or another version does
        ├── StoreUnavailable    the store of calls cannot be opened or written now
        └── KernelPathUnavailable   the kernel refuses something of the path in the kernel
            └── KernelTableFull     there is no room for one more flow

`code` is `error.code` of the native protocol; the set is small and fixed (docs/reference/protocol.md).
The module knows nothing of wires, calls or processes.
"""

from typing import ClassVar


class NhError(Exception):
    """Root of the tree; `code` is the native protocol's error code of the class."""

    code: ClassVar[str] = "internal"


class ConfigError(NhError):
    """A setting that cannot be used; the message says which, why, and what would do."""


class DirectoryInUse(ConfigError):
    """Another nh runs with the directory; the message says which process."""


class ProtocolError(NhError):
    """A peer sent what its protocol does not allow."""

    code = "bad_request"


class MalformedFrame(ProtocolError):
    """Framing is lost: nothing after this point of the connection can be trusted."""


class MalformedRequest(ProtocolError):
    """One request is unreadable; the message says what and where."""


class UnknownCommand(ProtocolError):
    """The request names a command that is not in the table."""

    code = "unknown_command"


class SnapshotUnreadable(NhError):
    """A snapshot is of another version, damaged, or contradicts itself: the call cannot be restored."""


class Refused(NhError):
    """The relay's rules turn the request down (Net::SIP: the reply is undef)."""

    code = "refused"


class UnknownCall(Refused):
    """Nothing is known under this call-id, transaction or pair of ids."""

    code = "not_found"


class StaleTransaction(Refused):
    """The transaction is older than one that is known for the same sender."""

    code = "stale"


class NotAllocated(Refused):
    """A session needs sockets on both sides before it can be activated."""

    code = "not_allocated"


class WrongDialog(Refused):
    """An answer without its offer, or two ends that do not belong together."""

    code = "bad_dialogue"


class UnusableSdp(Refused):
    """The SDP cannot be read; the message says where and why."""

    code = "bad_sdp"


class IncompleteSdp(Refused):
    """The SDP lacks what a relay needs, such as an address."""

    code = "incomplete_sdp"


class Unsupported(Refused):
    """A client asks for what a relay, or this one, does not do: better refused than silently left out."""

    code = "unsupported"


class SocketCountMismatch(Refused):
    """The two sides asked for different numbers of sockets, so they cannot be paired."""

    code = "mismatch"


class LimitReached(Refused):
    """A configured limit would be exceeded; the message names it."""

    code = "limit"


class Draining(Refused):
    """The relay drains: it goes on with the calls that it has, and takes no new ones."""

    code = "draining"


class PortsExhausted(Refused):
    """No free run of consecutive ports; the message says what would help."""

    code = "no_ports"


class SocketsExhausted(PortsExhausted):
    """Ports are free, but the system has no descriptors or no memory for their sockets."""


class AddressUnavailable(Refused):
    """The address is not one that this host can bind."""

    code = "bad_address"


class Unavailable(NhError):
    """Nothing that could execute the command answers."""

    code = "unavailable"


class ShardUnavailable(Unavailable):
    """The shard of this call is down, starting, or has too many commands waiting."""


class ChannelFull(Unavailable):
    """Too many records wait on the internal link, because the other side does not read them."""


class CommandTimeout(Unavailable):
    """The shard of this call did not answer in time; the command may still be executed."""

    code = "timeout"


class StatsUnavailable(Unavailable):
    """The statistics in shared memory cannot be created or read; the message says where and why."""


class StoreUnavailable(Unavailable):
    """The store of calls cannot be opened or written now; the message says where and why."""


class KernelPathUnavailable(Unavailable):
    """The kernel refuses something that the path in the kernel needs: nh relays in user space.

    Arguments:
        message: what was tried and what the kernel said, with the end of the verifier's log if it has one.
        errno: the kernel's error number.
    """

    def __init__(self, message: str, *, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class KernelTableFull(KernelPathUnavailable):
    """The kernel's table has no room for one more flow, which stays in user space."""


ERROR_CODES: tuple[str, ...] = (
    "bad_request",
    "unknown_command",
    "not_found",
    "stale",
    "not_allocated",
    "mismatch",
    "bad_dialogue",
    "bad_sdp",
    "incomplete_sdp",
    "unsupported",
    "draining",
    "limit",
    "no_ports",
    "bad_address",
    "refused",
    "unavailable",
    "timeout",
    "internal",
)
"""All values of `error.code` in the native protocol."""
