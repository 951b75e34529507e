"""What all calls of a table share: the media plane, ports and settings, and counts of what is in use."""

from nh.calls.events import CallObservers
from nh.calls.expiry_watch import ExpiryWatch
from nh.calls.latching.earlier import EarlierSenders
from nh.calls.media_plane import MediaPlane
from nh.calls.session_ids import SessionIds
from nh.calls.settings import RelaySettings
from nh.calls.sockets.ports import PortSpace


class SharedResources:
    """What all calls of a table share, counted and limited.

    Args:
        plane: see MediaPlane.
        ports: ports for sockets.
        settings: limits and rules.
        session_ids: numbers for sessions, other ones than those of any other table.
        events: gets the events of calls.
        wall_offset_s: added to monotonic seconds to get wall-clock seconds.

    Attributes:
        plane, ports, settings, session_ids, events, wall_offset_s: see above.
        sockets, sessions: how many there are now.
        multicast: media for which sockets were opened although their address is multicast or broadcast.
        earlier: who sent to the ports in calls that have ended.
        expiry: gets each call in which something may expire earlier than before.
    """

    def __init__(
        self,
        *,
        plane: MediaPlane,
        ports: PortSpace,
        settings: RelaySettings,
        session_ids: SessionIds | None = None,
        events: CallObservers | None = None,
        wall_offset_s: float = 0.0,
    ) -> None:
        self.events = events or CallObservers()
        self.wall_offset_s = wall_offset_s
        self.plane = plane
        self.ports = ports
        self.settings = settings
        self.sockets = 0
        self.sessions = 0
        self.multicast = 0
        self.earlier = EarlierSenders()
        self.expiry = ExpiryWatch()
        self.session_ids = session_ids or SessionIds()
