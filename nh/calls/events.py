"""Events of calls: what happens to calls, for observers that only listen.

The domain and the media plane report to one `CallEvents`; statistics, checkpoints and log lines are
`CallObserver`s of it. Events happen on signalling, on expiry and when a source changes, never per packet.
"""

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nh.calls.leg import Leg, RelaySocket
    from nh.calls.session import Session
    from nh.calls.socket_group import SocketGroup


class EndReason(enum.StrEnum):
    """Why a session ended.

    CLOSED: a command ended it.
    EXPIRED: no packet came for `silent_s`.
    HOLD: it was on hold, and no packet came for `hold_s`.
    REPLACED: a newer session between the same ends took its place `replaced_s` ago.
    """

    CLOSED = "closed"
    EXPIRED = "expired"
    HOLD = "hold"
    REPLACED = "replaced"


class CallObserver:
    """Listens to the events of all calls of one relay; a subclass overrides the events that it needs.

    An observer changes no call. What it raises is reported by CallEvents and reaches no caller. The objects
    in an event are the domain's own: read them at once, they change later.
    """

    def call_begun(self, call_id: bytes, /) -> None:
        """The relay knows a new call. Its first sockets were opened before."""

    def session_activated(self, call_id: bytes, session: "Session", /) -> None:
        """A session relays from now on. A session that is restored was activated in another process."""

    def source_changed(self, call_id: bytes, leg: "Leg", /) -> None:
        """The source of `leg` latched, moved or was reopened (`leg.source`, `leg.state`)."""

    def session_ended(self, call_id: bytes, session: "Session", reason: EndReason, /) -> None:
        """A session relays no more; its counters are final."""

    def group_unused(self, call_id: bytes, group: "SocketGroup", /) -> None:
        """The sockets of `group` expire without ever having had a session."""

    def call_ended(self, call_id: bytes, /) -> None:
        """The call has no sockets left; the relay has forgotten it."""

    def call_changed(self, call_id: bytes, /) -> None:
        """A command that may change the call was carried out or refused; its client has no reply yet."""

    def sockets_opened(self, call_id: bytes, sockets: "Sequence[RelaySocket]", /) -> None:
        """Sockets were opened for the call, or taken over from the process that had it before."""

    def sockets_closing(self, sockets: "Sequence[RelaySocket]", /) -> None:
        """Sockets are about to be closed, those of a call that could not be restored too."""

    def housekeeping(self, now: float, /) -> None:
        """A periodic turn of the relay, after what was due has expired.

        Args:
            now: monotonic seconds.
        """


_EVENTS: Final = tuple(name for name in vars(CallObserver) if not name.startswith("_"))


class CallEvents(CallObserver):
    """Passes each event on to the observers that override it, in the order in which they were added.

    Args:
        failed: called in the `except` block of an observer that raised, with the name of the event.
    """

    def __init__(self, failed: Callable[[str], None] = lambda _event: None) -> None:
        self._failed = failed
        self._handlers: dict[str, tuple[Callable[..., None], ...]] = dict.fromkeys(_EVENTS, ())

    def add(self, observer: CallObserver) -> None:
        """Let `observer` have all events from now on."""
        for event in _EVENTS:
            if getattr(type(observer), event) is not getattr(CallObserver, event):
                self._handlers[event] += (getattr(observer, event),)

    def call_begun(self, call_id: bytes, /) -> None:
        """See CallObserver."""
        self._notify("call_begun", call_id)

    def session_activated(self, call_id: bytes, session: "Session", /) -> None:
        """See CallObserver."""
        self._notify("session_activated", call_id, session)

    def source_changed(self, call_id: bytes, leg: "Leg", /) -> None:
        """See CallObserver."""
        self._notify("source_changed", call_id, leg)

    def session_ended(self, call_id: bytes, session: "Session", reason: EndReason, /) -> None:
        """See CallObserver."""
        self._notify("session_ended", call_id, session, reason)

    def group_unused(self, call_id: bytes, group: "SocketGroup", /) -> None:
        """See CallObserver."""
        self._notify("group_unused", call_id, group)

    def call_ended(self, call_id: bytes, /) -> None:
        """See CallObserver."""
        self._notify("call_ended", call_id)

    def call_changed(self, call_id: bytes, /) -> None:
        """See CallObserver."""
        self._notify("call_changed", call_id)

    def sockets_opened(self, call_id: bytes, sockets: "Sequence[RelaySocket]", /) -> None:
        """See CallObserver."""
        self._notify("sockets_opened", call_id, sockets)

    def sockets_closing(self, sockets: "Sequence[RelaySocket]", /) -> None:
        """See CallObserver."""
        self._notify("sockets_closing", sockets)

    def housekeeping(self, now: float, /) -> None:
        """See CallObserver."""
        self._notify("housekeeping", now)

    def _notify(self, event: str, *values: object) -> None:
        for handle in self._handlers[event]:
            try:
                handle(*values)
            except Exception:
                self._failed(event)
