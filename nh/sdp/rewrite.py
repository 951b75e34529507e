"""Rewriting SDP for a relay: changes what a plan asks for and keeps all other bytes."""

import enum

import msgspec

from nh.commands import PLAIN_TEXT, RtcpAttribute, SdpText
from nh.ice.credentials import IceCredentials
from nh.ip_address import UNSPECIFIED, is_ipv6
from nh.sdp.bundles import leave_groups, write_bundles, write_mid
from nh.sdp.description import MARK, Medium, SessionDescription
from nh.sdp.fields import (
    make_connection,
    make_rtcp,
    write_connection,
    write_medium_port,
    write_medium_proto,
    write_origin,
    write_rtcp,
)
from nh.sdp.ice import CandidatePlace, IceAction, rewrite_medium_ice, rewrite_session_ice, staying_media
from nh.sdp.lines import Edits
from nh.sdp.section import Section, drop_attributes
from nh.sdp.text_changes import change_text, hide_media, hold_by_direction

DTLS_ATTRIBUTES = ("setup", "fingerprint", "tls-id")


class MuxAction(enum.Enum):
    """What to do with a=rtcp-mux: leave it, add it if it is missing, or remove it and a=rtcp-mux-only."""

    KEEP = "keep"
    ADD = "add"
    REMOVE = "remove"


class MediumPlan(msgspec.Struct, frozen=True):
    """Where the relay receives one medium.

    Attributes:
        address: canonical IP address to announce; it decides between IP4 and IP6.
        port: port to announce; 0 rejects the medium. A medium that has port 0 keeps it.
        rtcp_port: the relay's RTCP port. a=rtcp is written if there was one, or if this is not port + 1.
            None: RTCP has no port of its own (muxed, or the medium is not RTP), and a=rtcp is removed.
        mux: what to do with a=rtcp-mux.
        proto: transport protocol of the m= line, such as RTP/AVP; "" leaves it.
        crypto: a=crypto lines in place of those that there are; None leaves them.
        bundle_only: it has no port of its own, but that of the bundle's first medium (RFC 9143 6).
        credentials: of the relay's ICE; None: it has none with the receiver.
        ice_options: of that ICE.
        further: address to announce and lowest port of the further candidates of that ICE.
        dtls: the same of a=fingerprint, a=setup and a=tls-id.
    """

    address: str
    port: int
    rtcp_port: int | None = None
    mux: MuxAction = MuxAction.KEEP
    proto: str = ""
    crypto: tuple[bytes, ...] | None = None
    bundle_only: bool = False
    credentials: IceCredentials | None = None
    ice_options: tuple[str, ...] = ()
    further: tuple[tuple[str, int], ...] = ()
    dtls: tuple[bytes, ...] | None = None


class RewritePlan(msgspec.Struct, frozen=True):
    """What to change in an SDP.

    Attributes:
        media: one for each m= line; None leaves that medium untouched.
        connection: IP address for the session's c=; None leaves it. A medium without a c= of its own gets one
            if the session's is not right for it.
        origin: IP address for o=; None leaves it.
        ice: what to do with ICE attributes.
        appended: lines of further media to add at the end.
        hidden: indexes of the media that are left out, with their a=mid in a=group.
        mark: id of this relay for loop protection, a token of RFC 8866; "" adds no mark.
        bundles: a=mid values of each bundle, in place of the a=group:BUNDLE and a=bundle-only that there are;
            None leaves those.
        mids: a=mid of each medium; "", and () for all of them, leaves what there is.
        unnamed: indexes of the media that have no a=mid; no a=group names them.
        text: what else a client wants of the lines that the relay writes, and of a=mid and a=extmap.
    """

    media: tuple[MediumPlan | None, ...]
    connection: str | None = None
    origin: str | None = None
    ice: IceAction = IceAction.KEEP
    appended: tuple[bytes, ...] = ()
    hidden: frozenset[int] = frozenset()
    mark: str = ""
    bundles: tuple[tuple[str, ...], ...] | None = None
    mids: tuple[str, ...] = ()
    unnamed: frozenset[int] = frozenset()
    text: SdpText = PLAIN_TEXT

    @property
    def replaces_dtls(self) -> bool:
        """Whether a medium gets other lines of DTLS; then none are the session's."""
        for medium in self.media:  # noqa: SIM110 -- a generator takes a call for each medium
            if medium is not None and medium.dtls is not None:
                return True
        return False


def rewrite(description: SessionDescription, plan: RewritePlan) -> bytes:
    """The SDP with the changes of `plan`, and no others.

    New lines are in the order of RFC 8866 and end like the line before them. Media on hold by 0.0.0.0 or ::
    stay on hold, in the address family of the plan, and their direction says so, too. Applying the same plan
    again changes nothing.

    Raises:
        ValueError: the plan and the SDP differ in number of media.
    """
    edits = Edits(description.lines)
    # what stays where it is the next time comes before what is written anew each time
    if plan.mark and plan.mark not in description.marks:
        edits.insert_after(description.session.last, f"a={MARK}:{plan.mark}".encode())
    _name_media(edits, description, plan)
    staying = _staying(description, plan)
    pinned = {each.session.first for each in staying.values() if each.own_connection is None}
    shared = {
        session.first: _rewrite_session(edits, session, plan, pinned=session.first in pinned)
        for session in description.sessions
    }
    for medium, medium_plan in zip(description.media, plan.media, strict=True):
        if medium_plan is None:
            _pin_connection(edits, medium, shared[medium.session.first])
        elif medium.number in staying:
            _offer_relay(edits, medium, medium_plan, plan)
        else:
            _rewrite_medium(edits, medium, medium_plan, shared[medium.session.first], plan)
    if plan.text is not PLAIN_TEXT:
        change_text(edits, description, plan.text, plan.mids)
    if plan.hidden:
        hide_media(edits, description, plan.hidden)
    if any("group" in session.attributes for session in description.sessions):
        leave_groups(edits, description, _gone(description, plan) | plan.unnamed, plan.appended)
    if plan.bundles is not None:
        write_bundles(edits, description, plan.bundles)
    for line in plan.appended:
        edits.insert_after(description.last, line)
    return edits.render()


def _name_media(edits: Edits, description: SessionDescription, plan: RewritePlan) -> None:
    for medium, mid in zip(description.media, plan.mids, strict=False):
        if mid:
            write_mid(edits, medium, mid)
    for index in plan.unnamed:
        drop_attributes(edits, description.media[index], ("mid",))


def _gone(description: SessionDescription, plan: RewritePlan) -> frozenset[int]:
    """The media, by index, that come out rejected, and those that are left out."""
    rejected = [
        index
        for index, (medium, each) in enumerate(zip(description.media, plan.media, strict=True))
        if medium.rejected or (each is not None and each.port == 0)
    ]
    return plan.hidden.union(rejected)


def _staying(description: SessionDescription, plan: RewritePlan) -> dict[int, Medium]:
    """The media, by number, that stay where they are; see staying_media()."""
    if plan.ice is not IceAction.RELAY:
        return {}
    relayed = [
        medium
        for medium, each in zip(description.media, plan.media, strict=True)
        if each is not None and each.port and medium.port
    ]
    return staying_media(relayed, description.bundles)


def _rewrite_session(edits: Edits, session: Section, plan: RewritePlan, *, pinned: bool) -> str | None:
    """Rewrite a session section; returns the address of its c= line from now on, None without one.

    Args:
        pinned: its c= stays, since media stay where it says.
    """
    for index in session.fields.get(b"o", ()):
        if plan.origin is not None:
            edits.replace(index, write_origin(edits.text(index), plan.origin))
    shared = session.own_connection
    if shared is not None and plan.connection is not None and not pinned:
        held = shared in UNSPECIFIED and not plan.text.zero_address
        shared = _held_if(held, plan.connection)
        _write_connections(edits, session, shared)
    if plan.replaces_dtls:
        drop_attributes(edits, session, DTLS_ATTRIBUTES)
    lite = plan.ice is IceAction.OWN and any(
        medium is not None and medium.credentials is not None for medium in plan.media
    )
    rewrite_session_ice(edits, session, plan.ice, lite=lite)
    return shared


def _rewrite_medium(
    edits: Edits, medium: Medium, plan: MediumPlan, shared: str | None, whole: RewritePlan
) -> None:
    unbundled = whole.bundles is not None and medium.has("bundle-only")
    port = plan.port if medium.port or unbundled else 0
    line = write_medium_port(edits.text(medium.first), 0 if plan.bundle_only else port)
    is_other = plan.proto not in ("", medium.proto)
    edits.replace(medium.first, write_medium_proto(line, plan.proto) if is_other else line)
    held = medium.held
    if held and port and not whole.text.original_direction:
        hold_by_direction(edits, medium)
    # with ICE, another address than that of a candidate is a mismatch (RFC 8839 4.2.5)
    hidden = held and not whole.text.zero_address and plan.credentials is None
    connection = _held_if(hidden, plan.address)
    if medium.own_connection is not None:
        _write_connections(edits, medium, connection)
    elif port and connection != shared:
        _insert_connection(edits, medium, connection)
    _rewrite_rtcp(edits, medium, plan, port, whole.text.rtcp_attribute)
    _rewrite_mux(edits, medium, plan.mux, port)
    if plan.bundle_only and port:
        edits.insert_after(medium.last, b"a=bundle-only")
    ice = IceAction.REMOVE if plan.bundle_only else whole.ice
    rewrite_medium_ice(
        edits, medium, ice, _places(plan, port), credentials=plan.credentials, options=plan.ice_options
    )
    if plan.crypto is not None:
        drop_attributes(edits, medium, ("crypto",))
        for line in plan.crypto if port else ():
            edits.insert_after(medium.last, line)
    _rewrite_dtls(edits, medium, plan.dtls, whole, port)


def _offer_relay(edits: Edits, medium: Medium, plan: MediumPlan, whole: RewritePlan) -> None:
    """Leave a medium where it is, with the relay as a candidate (IceAction.RELAY)."""
    if plan.proto:
        edits.replace(medium.first, write_medium_proto(edits.text(medium.first), plan.proto))
    _rewrite_mux(edits, medium, plan.mux, medium.port)
    rewrite_medium_ice(edits, medium, whole.ice, _places(plan, plan.port), credentials=None)


def _places(plan: MediumPlan, port: int) -> list[CandidatePlace]:
    """Where the components of a medium are, at each address."""
    if not port:
        return []
    ports = (port,) if plan.rtcp_port in (None, 0, port) else (port, plan.rtcp_port)
    further = [(address, tuple(range(base, base + len(ports)))) for address, base in plan.further]
    return [(plan.address, ports), *further]


def _rewrite_dtls(
    edits: Edits, medium: Medium, lines: tuple[bytes, ...] | None, whole: RewritePlan, port: int
) -> None:
    """Replace what a medium says of DTLS, or give it what the session said before."""
    if lines is not None:
        drop_attributes(edits, medium, DTLS_ATTRIBUTES)
    elif whole.replaces_dtls:
        missing = [name for name in DTLS_ATTRIBUTES if not medium.has(name)]
        indexes = [each.line for name in missing for each in medium.session.attributes.get(name, ())]
        lines = tuple(edits.text(index) for index in sorted(indexes))
    for line in (lines or ()) if port else ():
        edits.insert_after(medium.last, line)


def _held_if(held: bool, address: str) -> str:
    if not held:
        return address
    return "::" if is_ipv6(address) else "0.0.0.0"


def _write_connections(edits: Edits, section: Section, address: str) -> None:
    for index in section.fields[b"c"]:
        edits.replace(index, write_connection(edits.text(index), address))


def _pin_connection(edits: Edits, medium: Medium, shared: str | None) -> None:
    """Give an untouched medium the session's original c=, if that was changed."""
    if medium.own_connection is None and medium.connection not in (None, shared) and medium.port:
        index = medium.session.fields[b"c"][0]
        _insert_after_title(edits, medium, edits.text(index))


def _insert_connection(edits: Edits, medium: Medium, address: str) -> None:
    _insert_after_title(edits, medium, make_connection(address))


def _insert_after_title(edits: Edits, medium: Medium, text: bytes) -> None:
    # RFC 8866 5: m=, then i=, then c=
    edits.insert_after(max((medium.first, *medium.fields.get(b"i", ()))), text)


def _rewrite_rtcp(edits: Edits, medium: Medium, plan: MediumPlan, port: int, wanted: RtcpAttribute) -> None:
    present = medium.attributes.get("rtcp", ())
    if wanted is RtcpAttribute.FULL and medium.rtp and port and medium.field.count == 1:
        drop_attributes(edits, medium, ("rtcp",))
        after = present[0].line if present else medium.last
        edits.insert_after(after, make_rtcp(plan.rtcp_port or port, plan.address))
    elif plan.rtcp_port is None or wanted is RtcpAttribute.NONE:
        drop_attributes(edits, medium, ("rtcp",))
    elif present:
        for index, _ in present:
            edits.replace(index, write_rtcp(edits.text(index), plan.rtcp_port, plan.address))
    elif port and medium.field.count == 1 and plan.rtcp_port != port + 1:
        edits.insert_after(medium.last, make_rtcp(plan.rtcp_port))


def _rewrite_mux(edits: Edits, medium: Medium, mux: MuxAction, port: int) -> None:
    if mux is MuxAction.REMOVE:
        drop_attributes(edits, medium, ("rtcp-mux", "rtcp-mux-only"))
    elif mux is MuxAction.ADD and port and not medium.has("rtcp-mux"):
        edits.insert_after(medium.last, b"a=rtcp-mux")
