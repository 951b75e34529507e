"""What holds for every SDP and every plan: little is changed, and what is changed is what was planned."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nh.commands import SdpText
from nh.ice.credentials import IceCredentials
from nh.ip_address import canonical_address
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.ice import IceAction
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, MuxAction, RewritePlan, rewrite
from nh.sdp.section import Direction
from tests.sdp import generator

addresses = st.sampled_from(["203.0.113.9", "203.0.113.10", "2001:db8:9::9"])
medium_plans = st.one_of(
    st.none(),
    st.builds(
        MediumPlan,
        addresses,
        st.one_of(st.just(0), generator.ports),
        st.one_of(st.none(), generator.ports),
        st.sampled_from(MuxAction),
    ),
)


@st.composite
def rewrites(draw: st.DrawFn) -> tuple[bytes, RewritePlan]:
    body = draw(generator.bodies())
    count = len(parse(body).media)
    plan = RewritePlan(
        tuple(draw(st.lists(medium_plans, min_size=count, max_size=count))),
        connection=draw(st.one_of(st.none(), addresses)),
        origin=draw(st.one_of(st.none(), addresses)),
        ice=draw(st.sampled_from(IceAction)),
        mark=draw(st.sampled_from(["", "b7"])),
    )
    return body, plan


OURS = IceCredentials("ours", "p" * 22)

SAYS_THE_HOLD = {Direction.SENDRECV: Direction.SENDONLY, Direction.RECVONLY: Direction.INACTIVE}
"""Direction of a medium on hold by its address, by the direction before."""

ORIGINAL_DIRECTION = SdpText(original_direction=True)
"""Media on hold by their address get no direction that says so."""


def identity_of(description: SessionDescription) -> RewritePlan:
    """The plan that says what the SDP says already, as far as one can."""
    return RewritePlan(
        tuple(_identity_of_medium(medium) for medium in description.media),
        connection=description.session.own_connection,
        origin=description.origin,
        text=ORIGINAL_DIRECTION,
    )


def _identity_of_medium(medium: Medium) -> MediumPlan | None:
    if medium.connection is None or (medium.rtcp and medium.rtcp.address not in (None, medium.connection)):
        return None
    rtcp = medium.attributes.get("rtcp", ())
    if len({attribute.value for attribute in rtcp}) > 1 or (rtcp and medium.rtcp is None):
        return None
    return MediumPlan(medium.connection, medium.port, medium.rtcp.port if medium.rtcp else None)


@given(generator.bodies())
def test_an_identity_plan_changes_no_byte(body: bytes) -> None:
    description = parse(body)
    assert rewrite(description, RewritePlan((None,) * len(description.media))) == body
    assert rewrite(description, identity_of(description)) == body


@given(rewrites())
def test_only_lines_that_may_change_do(case: tuple[bytes, RewritePlan]) -> None:
    body, plan = case
    plan = msgspec.structs.replace(plan, text=ORIGINAL_DIRECTION)
    may_change = (
        b"o=",
        b"c=",
        b"m=",
        b"a=rtcp",
        b"a=nh:",
        b"a=ice-",
        b"a=candidate:",
        b"a=remote-cand",
        b"a=end-of",
    )

    def others(text: bytes) -> list[bytes]:
        return [line for line in text.splitlines() if not line.startswith(may_change)]

    assert others(rewrite(parse(body), plan)) == others(body)


@given(rewrites())
def test_the_result_says_what_was_planned(case: tuple[bytes, RewritePlan]) -> None:
    body, plan = case
    before = parse(body)
    after = parse(rewrite(before, plan))
    assert len(after.media) == len(before.media)
    assert after.origin == (plan.origin or before.origin)
    assert ("b7" in after.marks) == bool(plan.mark)
    for was, now, wanted in zip(before.media, after.media, plan.media, strict=True):
        assert (now.kind, now.proto, now.field.count) == (was.kind, was.proto, was.field.count)
        assert now.field.formats == was.field.formats
        if wanted is None or _stays(was, plan, wanted):
            assert (now.port, now.direction) == (was.port, was.direction)
            if was.port:
                assert now.connection == was.connection
            continue
        _check_planned(was, now, wanted)


def _stays(was: Medium, plan: RewritePlan, wanted: MediumPlan) -> bool:
    """Whether the relay is one more candidate of a medium, none of which is a relay of its sender."""
    return plan.ice is IceAction.RELAY and was.ice and was.port != 0 and wanted.port != 0


def _check_planned(was: Medium, now: Medium, wanted: MediumPlan) -> None:
    assert now.port == (wanted.port if was.port else 0)
    held = bool(now.port and was.held)
    assert now.direction == (SAYS_THE_HOLD.get(was.direction, was.direction) if held else was.direction)
    if held:
        assert now.connection == ("::" if ":" in wanted.address else "0.0.0.0")
    elif now.port:
        assert now.connection == canonical_address(wanted.address, where="")
    if wanted.rtcp_port is None:
        assert now.rtcp is None
    elif was.rtcp is not None:
        assert now.rtcp is not None
        assert now.rtcp.port == wanted.rtcp_port
        assert now.rtcp.address in (None, wanted.address)
    if wanted.mux is MuxAction.REMOVE:
        assert not now.rtcp_mux
    elif wanted.mux is MuxAction.ADD and now.port:
        assert now.rtcp_mux


@given(rewrites())
def test_the_same_plan_changes_nothing_in_the_result(case: tuple[bytes, RewritePlan]) -> None:
    body, plan = case
    once = rewrite(parse(body), plan)
    assert rewrite(parse(once), plan) == once


@given(rewrites())
def test_what_the_relay_adds_of_its_own_stays_where_it_is(case: tuple[bytes, RewritePlan]) -> None:
    """Its mark, its names of media, and its ICE and keys, which are written anew each time."""
    body, plan = case
    media = tuple(
        each and msgspec.structs.replace(each, credentials=OURS, crypto=(b"a=crypto:1 x y",))
        for each in plan.media
    )
    mids = tuple(f"m{number}" for number in range(len(media)))
    whole = msgspec.structs.replace(plan, media=media, ice=IceAction.OWN, mark="b7", mids=mids)
    once = rewrite(parse(body), whole)
    assert rewrite(parse(once), whole) == once


@given(rewrites(), st.sampled_from([IceAction.REMOVE, IceAction.REPLACE]))
def test_a_relay_leaves_no_address_of_the_peer_to_send_to(
    case: tuple[bytes, RewritePlan], ice: IceAction
) -> None:
    body, plan = case[0], msgspec.structs.replace(case[1], ice=ice)
    for medium, wanted in zip(parse(rewrite(parse(body), plan)).media, plan.media, strict=True):
        if wanted is not None:
            for attribute in medium.attributes.get("candidate", ()):
                assert attribute.value.split()[4].decode() == wanted.address
