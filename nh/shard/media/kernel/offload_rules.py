"""Offload rules: which directions the kernel can forward, and why the others stay in user space.

Each reason is what `nh calls` and `show` say of a direction (Leg.not_offloaded).
"""

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtcp_reports import awaits_reports
from nh.ip_address import ip_version, is_link_local


def why_not_latched(leg: Leg) -> str:
    """Why the source of a leg, or its destination, is not fixed."""
    if not leg.latches:
        return "its policy never latches"
    if not leg.latched:
        return "its source is not latched yet"
    return "the other end does not receive, or its address is not known yet"


def find_obstacle(leg: Leg, source: Endpoint, destination: Endpoint) -> str:
    """What the kernel's program cannot do for a latched leg; "" if there is no such thing."""
    ends = (source.address, destination.address)
    # An end may be met at the other IP version from now on, and its source still be that of before.
    path = (*ends, leg.socket.local.address, leg.egress.socket.local.address)
    obstacles = (
        (leg.blocked, "its end is blocked"),
        (leg.blocked_events, "DTMF of its end is blocked"),
        (leg.silencer, "its end is silenced"),
        (leg.security or leg.egress.security, "SRTP of an end ends here"),
        (leg.ice, "ICE of its end ends here"),
        (leg.bundle, "several media come to this port"),
        (leg.transforms or leg.taps, "its packets are transformed or observed"),
        (awaits_reports(leg), "RTCP tells the round trip soon"),
        (any(map(is_link_local, ends)), "one end has a link-local address"),
        (len(set(map(ip_version, path))) > 1, "it goes from one IP version to the other"),
    )
    return next((why for stands, why in obstacles if stands), "")
