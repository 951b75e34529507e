"""Rewriting SDP for a relay: only what a plan says is changed, every other byte is handed through.

ICE. nh has no ICE agent: it answers no connectivity check. It forwards checks like any other packet, and
that is enough for two peers that both do ICE, because a check proves who sent it by the peers' own user
fragments and passwords and covers no address outside itself (RFC 8445 7.2.2). So the peers' credentials are
never touched, and where the SDP has none, nothing here can make ICE out of it. What ng's `ICE=` can mean:

- not there, `default`: REPLACE. Each peer sees one candidate a component: the relay. An SDP without ICE
  stays without.
- `remove`: REMOVE. The peer that the SDP goes to does not learn of ICE; neither may its answer mention it.
- `optional`: ADD. The relay joins the candidates as the last resort. The peers may then find a path that
  bypasses it: it sees no more packets of such media, although the call goes on.
- `force`: REPLACE where the sender does ICE. Where it does not, rtpengine would do ICE in its stead, with
  checks that it answers itself; nh cannot, and a proxy that asks for it is to be told.
- `force-relay`: not done.
"""

import enum
import zlib

import msgspec

from nh.sdp.description import MARK, UNSPECIFIED, Medium, Section, SessionDescription
from nh.sdp.fields import (
    make_connection,
    make_rtcp,
    write_connection,
    write_medium_port,
    write_origin,
    write_rtcp,
)
from nh.sdp.lines import Edits

_CANDIDATES = ("candidate", "remote-candidates")
_ICE = (
    *_CANDIDATES,
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-mismatch",
    "ice-pacing",
)
_HOST_PREFERENCE = (126 << 24) + (65535 << 8)  # RFC 8445 5.1.2: a host candidate, the only address


class MuxAction(enum.Enum):
    """What becomes of a=rtcp-mux: left as it is, there afterwards, or gone (a=rtcp-mux-only too)."""

    KEEP = "keep"
    ADD = "add"
    REMOVE = "remove"


class IceAction(enum.Enum):
    """What becomes of ICE, in all media that are planned and in the session part.

    KEEP: nothing is changed.
    REMOVE: every attribute of ICE goes.
    REPLACE: the relay's candidates stand in place of the peer's, under the peer's credentials.
    ADD: the relay's candidates join the peer's, with the lowest priority there is.

    With all but KEEP, a=remote-candidates goes: it names addresses that the receiver has never seen.
    """

    KEEP = "keep"
    REMOVE = "remove"
    REPLACE = "replace"
    ADD = "add"


class MediumPlan(msgspec.Struct, frozen=True):
    """Where the relay awaits one medium.

    Arguments:
        address: canonical IP address to announce; it decides between IP4 and IP6.
        port: to announce; 0 rejects the medium. One that came with port 0 keeps it.
        rtcp_port: the relay's RTCP port. a=rtcp is written where one was, or where it is not port + 1.
            None: RTCP has no port of its own (it is muxed, or this is no RTP); a=rtcp goes.
        mux: what becomes of a=rtcp-mux.
    """

    address: str
    port: int
    rtcp_port: int | None = None
    mux: MuxAction = MuxAction.KEEP


class RewritePlan(msgspec.Struct, frozen=True):
    """What to change in an SDP. With nothing but `media` of None the bytes stay the same.

    Arguments:
        media: one for each m= line; None leaves that medium untouched.
        connection: IP address for the session's c=; None leaves it as it is. Media without a c= of their own
            get one where the session's does not say what is right for them.
        origin: IP address for o=; None leaves it as it is.
        ice: what becomes of ICE.
        mark: the id of this relay for its loop protection, a token of RFC 8866; "" adds no mark.
    """

    media: tuple[MediumPlan | None, ...]
    connection: str | None = None
    origin: str | None = None
    ice: IceAction = IceAction.KEEP
    mark: str = ""


def rewrite(description: SessionDescription, plan: RewritePlan) -> bytes:
    """The SDP with the changes that `plan` asks for, and no others.

    New lines stand in the order of RFC 8866 and end like the line before them. Media on hold (0.0.0.0
    or ::) stay on hold, in the family of the new address. The same plan changes nothing in the result.

    Raises ValueError if the plan has another number of media than the SDP.
    """
    edits = Edits(description.lines)
    session = description.session
    for index in session.fields.get(b"o", ()):
        if plan.origin is not None:
            edits.replace(index, write_origin(edits.text(index), plan.origin))
    shared = session.own_connection
    if shared is not None and plan.connection is not None:
        shared = _held_if(shared in UNSPECIFIED, plan.connection)
        _write_connections(edits, session, shared)
    if plan.ice in (IceAction.REMOVE, IceAction.REPLACE):
        _drop(edits, session, _ICE if plan.ice is IceAction.REMOVE else _CANDIDATES)
    if plan.mark and plan.mark not in description.marks:
        edits.insert_after(session.last, f"a={MARK}:{plan.mark}".encode())
    for medium, medium_plan in zip(description.media, plan.media, strict=True):
        if medium_plan is None:
            _pin_connection(edits, medium, shared)
        else:
            _rewrite_medium(edits, medium, medium_plan, shared, plan.ice)
    return edits.render()


def _rewrite_medium(
    edits: Edits, medium: Medium, plan: MediumPlan, shared: str | None, ice: IceAction
) -> None:
    port = plan.port if medium.port else 0
    edits.replace(medium.first, write_medium_port(edits.text(medium.first), port))
    connection = _held_if(medium.held, plan.address)
    if medium.own_connection is not None:
        _write_connections(edits, medium, connection)
    elif port and connection != shared:
        _insert_connection(edits, medium, connection)
    _rewrite_rtcp(edits, medium, plan, port)
    _rewrite_mux(edits, medium, plan.mux, port)
    _rewrite_ice(edits, medium, plan, port, ice)


def _held_if(held: bool, address: str) -> str:
    if not held:
        return address
    return "::" if ":" in address else "0.0.0.0"


def _write_connections(edits: Edits, section: Section, address: str) -> None:
    for index in section.fields[b"c"]:
        edits.replace(index, write_connection(edits.text(index), address))


def _pin_connection(edits: Edits, medium: Medium, shared: str | None) -> None:
    """Give an untouched medium what it inherited, where the session no longer says that."""
    if medium.own_connection is None and medium.connection not in (None, shared) and medium.port:
        inherited = medium.session.fields[b"c"][0]
        _insert_after_title(edits, medium, edits.text(inherited))


def _insert_connection(edits: Edits, medium: Medium, address: str) -> None:
    _insert_after_title(edits, medium, make_connection(address))


def _insert_after_title(edits: Edits, medium: Medium, text: bytes) -> None:
    # RFC 8866 5: m=, then i=, then c=
    edits.insert_after(max((medium.first, *medium.fields.get(b"i", ()))), text)


def _rewrite_rtcp(edits: Edits, medium: Medium, plan: MediumPlan, port: int) -> None:
    if plan.rtcp_port is None:
        _drop(edits, medium, ("rtcp",))
    elif told := medium.attributes.get("rtcp"):
        for index, _ in told:
            edits.replace(index, write_rtcp(edits.text(index), plan.rtcp_port, plan.address))
    elif port and medium.field.count == 1 and plan.rtcp_port != port + 1:
        edits.insert_after(medium.last, make_rtcp(plan.rtcp_port))


def _rewrite_mux(edits: Edits, medium: Medium, mux: MuxAction, port: int) -> None:
    if mux is MuxAction.REMOVE:
        _drop(edits, medium, ("rtcp-mux", "rtcp-mux-only"))
    elif mux is MuxAction.ADD and port and not medium.has("rtcp-mux"):
        edits.insert_after(medium.last, b"a=rtcp-mux")


def _rewrite_ice(edits: Edits, medium: Medium, plan: MediumPlan, port: int, ice: IceAction) -> None:
    if ice is IceAction.KEEP:
        return
    if ice is IceAction.REMOVE:
        _drop(edits, medium, _ICE)
        return
    _drop(edits, medium, _CANDIDATES if ice is IceAction.REPLACE else ("remote-candidates",))
    if not (medium.ice and port):
        return
    preference = _HOST_PREFERENCE if ice is IceAction.REPLACE else 0
    candidates = [_make_candidate(1, plan.address, port, preference)]
    if plan.rtcp_port not in (None, port):
        candidates.append(_make_candidate(2, plan.address, plan.rtcp_port, preference))
    offered = {edits.text(index) for index, _ in medium.attributes.get("candidate", ())}
    place = _place_of_candidates(medium)
    for candidate in candidates:
        if ice is IceAction.REPLACE or candidate not in offered:
            edits.insert_after(place, candidate)


def _place_of_candidates(medium: Medium) -> int:
    """The last of the peer's candidates, else of its credentials, else the end of the medium."""
    for names in (("candidate",), ("ice-ufrag", "ice-pwd")):
        indexes = [index for name in names for index, _ in medium.attributes.get(name, ())]
        if indexes:
            return max(indexes)
    return medium.last


def _make_candidate(component: int, address: str, port: int | None, preference: int) -> bytes:
    # RFC 8839 5.1; candidates of the same address share a foundation
    foundation = f"nh{zlib.crc32(address.encode()):08x}"
    priority = preference + 256 - component
    return f"a=candidate:{foundation} {component} UDP {priority} {address} {port} typ host".encode()


def _drop(edits: Edits, section: Section, names: tuple[str, ...]) -> None:
    for name in names:
        for index, _ in section.attributes.get(name, ()):
            edits.drop(index)
