"""rtpproxy's commands (docs/reference/rtpproxy.md)."""

import msgspec

from nh.calls.timeouts import TimeoutTarget
from nh.commands.base import BaseCommand, ResultT_co
from nh.results import (
    Closed,
    RelayPort,
    SessionCounters,
)


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The modifiers of rtpproxy's U and L that nh implements (docs/reference/rtpproxy.md).

    Attributes:
        asymmetric: `A`: media go to the address of the command, wherever that end sends from.
        family: address family of the SDP, 4 or 6 (`6`).
        bridge: `I` is 0, `E` is 1: the interfaces towards the sender and the receiver of the SDP, as far as
            they are given.
        local: `L`: IP address or name of the interface; "" if not given.
        remote: `R`: IP address of an end; the interface is the one that leads there; "" if not given.
        new_port: `N`: replace the relay's ports.
        weak: `W`: see nh.calls.offer_answer.party.Reference.
    """

    asymmetric: bool = False
    family: int = 4
    bridge: tuple[int, ...] = ()
    local: str = ""
    remote: str = ""
    new_port: bool = False
    weak: bool = False


class _SessionCommand(BaseCommand[ResultT_co], frozen=True):
    """A command about one medium of a call.

    Attributes:
        call_id: the Call-ID, with `;BRANCH` where the client distinguishes branches.
        from_tag, to_tag: the tags of the SIP message, without their media number; to_tag b"" if unknown.
        medium: the media number, 0 where the tags have none.
    """

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    medium: int


class Update(_SessionCommand[RelayPort], frozen=True, tag="update"):
    """rtpproxy's U: the end `from_tag` offers a medium at `address` and `port`; 0: it rejects the medium.

    Attributes:
        timeout_target: whom to tell when the media time out; None: that of an earlier U has no effect more.
    """

    address: str
    port: int
    options: SessionOptions
    timeout_target: TimeoutTarget | None = None


class Lookup(_SessionCommand[RelayPort], frozen=True, tag="lookup"):
    """rtpproxy's L: the end `to_tag` answers the offer of a medium with `address` and `port`."""

    address: str
    port: int
    options: SessionOptions


class QuerySession(_SessionCommand[SessionCounters], frozen=True, tag="query_session"):
    """rtpproxy's Q: the counters of one medium."""


class DeleteSessions(BaseCommand[Closed], frozen=True, tag="delete_sessions"):
    """rtpproxy's D: end all that `from_tag` or `to_tag` has offered first.

    Attributes:
        weak: remove the weak reference of that end, not the strong one.
    """

    call_id: bytes
    from_tag: bytes
    to_tag: bytes = b""
    weak: bool = False


class DeleteAll(BaseCommand[Closed], frozen=True, tag="delete_all"):
    """rtpproxy's X: end all calls that rtpproxy's commands have begun."""


SessionCommand = Update | Lookup | QuerySession | DeleteSessions
"""The commands about one call that only rtpproxy's protocol has."""
