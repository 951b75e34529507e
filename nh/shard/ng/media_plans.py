"""Media plans: which ports, transport and keys a forwarded SDP announces for each medium.

Pure functions between the views of nh.sdp and the relay's socket groups; no calls, no I/O.
"""

from collections.abc import Sequence

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.offered import Mux
from nh.calls.offer_answer.party import Party
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.runs import SocketRun
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.rewrite import MediumPlan, MuxAction
from nh.shard.ng.negotiation import differ_by_feedback
from nh.shard.ng.secured import Secured
from nh.shard.ng.srtp_means import converts


def medium_plan(
    medium: Medium,
    group: SocketGroup | None,
    address: str,
    mux: tuple[MuxAction, bool],
    *,
    proto: str,
    secured: Secured,
    further: Sequence[Interface],
) -> MediumPlan | None:
    """The address and ports of one medium in the forwarded SDP.

    Args:
        medium: of the SDP that arrived.
        group: the relay's sockets for it; None without any.
        address: to announce.
        mux: what becomes of a=rtcp-mux, and whether RTCP has no port of its own.
        proto: the transport that is wanted; "" leaves the SDP's.
        secured: the lines of its keys.
        further: whose addresses are those of further candidates.

    Returns:
        None leaves the medium untouched: it does not run over UDP.
    """
    if medium.rejected or group is None:
        return _rejected_plan(medium, address, proto)
    ports = [socket.port for socket in group.sockets]
    candidates = () if group.rare is None else _candidates(group.further, further)
    if not medium.rtp:
        return MediumPlan(address, ports[0], further=candidates)
    action, agreed = mux
    rtcp_port = None if agreed or len(ports) < 2 else ports[1]
    written = proto_to_write(medium, proto, secured=secured.lines is not None)
    return MediumPlan(
        address,
        ports[0],
        rtcp_port,
        action,
        written,
        secured.lines,
        further=candidates,
        dtls=secured.dtls,
    )


def _rejected_plan(medium: Medium, address: str, proto: str) -> MediumPlan | None:
    """The plan of a medium without sockets: no address of its end, and the transport that is wanted.

    A medium that the answer accepts although the offer rejected it has port 0: it would bypass the relay.
    """
    written = proto_to_write(medium, proto, secured=True)
    if written not in ("", medium.proto) or (medium.relayable and not medium.rejected):
        return rejecting(address, written)
    return MediumPlan(address, 0) if medium.rejected else None


def _candidates(runs: Sequence[SocketRun], interfaces: Sequence[Interface]) -> tuple[tuple[str, int], ...]:
    """Address to announce and lowest port of the runs on these interfaces."""
    advertised = {each.address: each.advertised for each in interfaces}
    return tuple([(advertised[each.address], each.base) for each in runs if each.address in advertised])


def answer_plan(
    medium: Medium,
    group: SocketGroup | None,
    address: str,
    mux: tuple[MuxAction, bool],
    *,
    offerer: Party,
    index: int,
    secured: Secured,
    further: Sequence[Interface],
) -> MediumPlan | None:
    """The same of medium `index` of an answer to `offerer`, which has the media and transports of the offer.

    So has a medium that the answer rejects (RFC 3264 6).
    """
    if index >= len(offerer.groups):
        return rejecting(address)
    proto = offerer.offered[index].proto if index < len(offerer.offered) else ""
    return medium_plan(medium, group, address, mux, proto=proto, secured=secured, further=further)


def rejecting(address: str, proto: str = "") -> MediumPlan:
    """The plan of a medium that comes out with port 0, with the transport `proto` if that is not empty."""
    return MediumPlan(address, 0, proto=proto, crypto=(), dtls=())


def bundled(description: SessionDescription, plans: Sequence[MediumPlan | None]) -> list[MediumPlan | None]:
    """Let all media of a bundle in an answer share the port of its first medium (RFC 9143 7.3)."""
    if not description.bundles:
        return list(plans)
    by_mid = {medium.mid: index for index, medium in enumerate(description.media)}
    shared = list(plans)
    for mids in description.bundles:
        indexes = [by_mid[mid] for mid in mids if mid in by_mid]
        relayed = [(index, plan) for index in indexes if (plan := plans[index]) is not None and plan.port]
        for index, plan in relayed:
            _, first = relayed[0]
            shared[index] = _at_the_port_of(description.media[index], plan, first)
    return shared


def _at_the_port_of(medium: Medium, plan: MediumPlan, first: MediumPlan) -> MediumPlan:
    """A medium with the transport of another one, and a protocol of its own: a data channel is no RTP."""
    if medium.rtp:
        return msgspec.structs.replace(first, proto=plan.proto)
    return msgspec.structs.replace(plan, address=first.address, port=first.port)


def with_port_of_first(
    plans: Sequence[MediumPlan | None], indexes: Sequence[int], *, strict: bool = False
) -> list[MediumPlan | None]:
    """The plans, in which some media have the ports of the first one of them.

    Args:
        plans: of all media.
        indexes: of these media.
        strict: in the SDP those but the first have port 0, and a=bundle-only.
    """
    shared = list(plans)
    first = plans[indexes[0]] if indexes else None
    for index in indexes[1:]:
        plan = shared[index]
        if plan is None or first is None:
            continue
        if strict:
            shared[index] = _without_transport(plan)
        else:
            shared[index] = msgspec.structs.replace(
                plan, port=first.port, rtcp_port=first.rtcp_port, further=first.further
            )
    return shared


def _without_transport(plan: MediumPlan) -> MediumPlan:
    """The plan of a medium that says nothing of its transport, since that is another's (RFC 9143 7.1.3)."""
    return msgspec.structs.replace(
        plan, rtcp_port=None, mux=MuxAction.REMOVE, crypto=(), dtls=(), bundle_only=True
    )


def mux_towards_answerer(mux: Mux, *, sole: bool) -> tuple[MuxAction, bool]:
    """What becomes of a=rtcp-mux in a forwarded offer.

    Args:
        mux: of the medium.
        sole: the client requires it, or the answerer has agreed on it before (RFC 8829 5.2.2).

    Returns:
        The action, and whether the SDP announces no port for RTCP. It announces one to an answerer that may
        refuse mux.
    """
    if sole and mux.passed_on:
        return MuxAction.ADD, True
    if mux.passed_on:
        return MuxAction.KEEP if mux.offered else MuxAction.ADD, False
    return MuxAction.REMOVE if mux.offered else MuxAction.KEEP, False


def proto_to_write(medium: Medium, wanted: str, *, secured: bool) -> str:
    """The transport of a forwarded m= line; "" leaves it.

    Args:
        medium: of the SDP that arrived.
        wanted: the transport that the client asks for, or that was offered; "" for none.
        secured: it may be SRTP on one side only.
    """
    if not wanted or not medium.rtp:
        return ""
    if differ_by_feedback(medium.proto, wanted) or (secured and converts(medium.proto, wanted)):
        return wanted
    return ""
