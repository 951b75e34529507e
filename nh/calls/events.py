"""Events of calls: what happens to calls, for observers that only listen.

The domain and the media plane report to one `CallObservers`; statistics, checkpoints and log lines are
`CallObserver`s of it. Events happen on signalling, on expiry and when a source changes, never per packet.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.leg import Leg
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.relay_socket import RelaySocket
from nh.calls.timeline import CallTimeline


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

    An observer changes no call. CallObservers reports what it raises, and no caller gets it. The objects in
    an event are the domain's own: read them at once, they change later.
    """

    def call_begun(self, call_id: bytes, timeline: CallTimeline, /) -> None:
        """The relay knows a new call. Its first sockets were opened before."""

    def session_activated(self, call_id: bytes, session: Session, /) -> None:
        """A session relays from now on. A session that is restored was activated in another process."""

    def source_changed(self, call_id: bytes, leg: Leg, /) -> None:
        """The source of `leg` latched, moved or was reopened (`leg.source`, `leg.state`)."""

    def path_changed(self, call_id: bytes, leg: Leg, /) -> None:
        """The packets of `leg` go another way from now on: inside the kernel, or not (`leg.offload`)."""

    def leg_outdated(self, call_id: bytes, leg: Leg, /) -> None:
        """Packets have changed more of `leg` than is kept without a snapshot; reported every few seconds."""

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason, /) -> None:
        """A session relays no more; its counters are final."""

    def group_unused(self, call_id: bytes, group: SocketGroup, /) -> None:
        """The sockets of `group` expire without ever having had a session."""

    def sockets_expired(self, call_id: bytes, /) -> None:
        """Sockets of the call were closed because their time was over; the call goes on without them."""

    def call_ended(self, call_id: bytes, timeline: CallTimeline, /) -> None:
        """The call has no sockets left; the relay has forgotten it."""

    def call_changing(self, call_id: bytes, /) -> None:
        """A command that may change the call begins; call_changed() follows when it ends."""

    def call_changed(self, call_id: bytes, /) -> None:
        """A command that may change the call was carried out or refused; its client has no reply yet."""

    def sockets_opened(self, call_id: bytes, sockets: Sequence[RelaySocket], /) -> None:
        """Sockets were opened for the call, or taken over from the process that had it before."""

    def sockets_closing(self, sockets: Sequence[RelaySocket], /) -> None:
        """Sockets are about to be closed, those of a call that could not be restored too."""

    def housekeeping(self, now: float, /) -> None:
        """A periodic turn of the relay, after what was due has expired.

        Args:
            now: monotonic seconds.
        """


_EVENTS: Final = tuple(name for name in vars(CallObserver) if not name.startswith("_"))


class CallObservers:
    """Where the domain and the media plane report events; the attribute of each event reports it.

    Each observer gets the events that it overrides, in the order in which the observers were added. An
    observer that raises costs neither the reporter nor the other observers anything.

    Args:
        failed: called in the `except` block of an observer that raised, with the name of the event.
    """

    call_begun: Callable[[bytes, CallTimeline], None]
    session_activated: Callable[[bytes, Session], None]
    source_changed: Callable[[bytes, Leg], None]
    path_changed: Callable[[bytes, Leg], None]
    leg_outdated: Callable[[bytes, Leg], None]
    session_ended: Callable[[bytes, Session, EndReason], None]
    group_unused: Callable[[bytes, SocketGroup], None]
    sockets_expired: Callable[[bytes], None]
    call_ended: Callable[[bytes, CallTimeline], None]
    call_changing: Callable[[bytes], None]
    call_changed: Callable[[bytes], None]
    sockets_opened: Callable[[bytes, Sequence[RelaySocket]], None]
    sockets_closing: Callable[[Sequence[RelaySocket]], None]
    housekeeping: Callable[[float], None]

    def __init__(self, failed: Callable[[str], None] = lambda _event: None) -> None:
        self._failed = failed
        self._handlers: dict[str, tuple[Callable[..., None], ...]] = dict.fromkeys(_EVENTS, ())
        for event in _EVENTS:
            setattr(self, event, _reporter((), event, failed))

    def add(self, observer: CallObserver) -> None:
        """Let `observer` have all events from now on."""
        for event in _EVENTS:
            if getattr(type(observer), event) is not getattr(CallObserver, event):
                self._handlers[event] += (getattr(observer, event),)
                setattr(self, event, _reporter(self._handlers[event], event, self._failed))


def _reporter(
    handlers: tuple[Callable[..., None], ...], event: str, failed: Callable[[str], None]
) -> Callable[..., None]:
    def report(*values: object) -> None:
        for handle in handlers:
            try:
                handle(*values)
            except Exception:
                failed(event)

    return report
