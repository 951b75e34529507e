"""What the timeline of a call is made of: its events, its client, and why it ended.

Other rooms know this vocabulary, and not the timeline. All times are of the wall clock, because they are for
people. Plain values.
"""

import enum
from typing import Annotated, Final

import msgspec

MAX_TAG_BYTES: Final = 128
"""Most bytes of a tag in an event."""

MAX_DETAIL: Final = 256
"""Most characters of `CallEvent.detail`, and of the texts of a Client."""

LATEST: Final = 1e15
Wall = Annotated[float, msgspec.Meta(ge=-LATEST, le=LATEST)]
"""Wall-clock seconds."""

Text = Annotated[str, msgspec.Meta(max_length=MAX_DETAIL)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Tag = Annotated[bytes, msgspec.Meta(max_length=MAX_TAG_BYTES)]


class CallEnd(enum.StrEnum):
    """Why a call ended.

    CLOSED: a client's command ended it.
    EXPIRED: no packet came for `silent_s`.
    HOLD: it was on hold, and no packet came for `hold_s`.
    UNUSED: its sockets had no session for `unused_s`.
    LIMIT: its first command found no ports, or a limit was reached.
    SHUTDOWN: nh ended.
    LOST: its process died, and the next one could not restore it.
    """

    CLOSED = "closed"
    EXPIRED = "expired"
    HOLD = "hold"
    UNUSED = "unused"
    LIMIT = "limit"
    SHUTDOWN = "shutdown"
    LOST = "lost"


class EventKind(enum.StrEnum):
    """What happened; a command is named by its family instead (offer, answer, delete, block, allocate, …).

    BEGUN, ENDED: the call; the detail of ENDED is a CallEnd.
    SOURCE, LATCHED: the source of the packets to a port, at first; the one that it is for good.
    KERNEL, USER_SPACE: packets to a port are relayed there now; the detail says why not in the kernel.
    HOLD, RESUMED: no medium is wanted by both ends; one is again.
    SESSION_ENDED: a session; the detail is an EndReason.
    RESTORED: another process goes on with the call.
    """

    BEGUN = "begun"
    SOURCE = "source"
    LATCHED = "latched"
    KERNEL = "kernel"
    USER_SPACE = "user_space"
    HOLD = "hold"
    RESUMED = "resumed"
    SESSION_ENDED = "session_ended"
    RESTORED = "restored"
    ENDED = "ended"


class Client(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Who sent a command.

    Attributes:
        protocol: netsip, native, ng or rtpproxy; "": no client is known.
        address: HOST:PORT, or the process at a Unix socket.
        command: the family of the command.
    """

    protocol: Text = ""
    address: Text = ""
    command: Text = ""

    def __str__(self) -> str:
        return f"{self.protocol} {self.command} of {self.address}" if self.protocol else "an unknown client"


NO_CLIENT: Final = Client()


class CallEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event.

    Attributes:
        at: wall-clock seconds.
        event: an EventKind, or the family of a command.
        tag: of the end that is concerned; b"": none is.
        port: the relay's port that is concerned; 0: none is.
        detail: an address, a reason, or an error's code; "" for nothing.
    """

    at: Wall
    event: Text
    tag: Tag = b""
    port: Port = 0
    detail: Text = ""
