"""nh.sdp.rewrite: candidates of a relay that forwards checks and answers none."""

import pytest

from nh.ice.credentials import MAX_CHARACTERS
from nh.sdp.ice import IceAction
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, MuxAction, RewritePlan, rewrite
from tests.sdp import samples
from tests.sdp.samples import crlf

RELAY = "203.0.113.9"
MUXED = MediumPlan(RELAY, 30000)
PAIR = MediumPlan(RELAY, 30000, 30001)


def lines_of(body: bytes, plan: RewritePlan) -> list[str]:
    return rewrite(parse(body), plan).decode().splitlines()


def candidates(body: bytes, ice: IceAction, *media: MediumPlan | None) -> list[list[str]]:
    """The candidates of each medium, split into their fields."""
    description = parse(rewrite(parse(body), RewritePlan(media, ice=ice)))
    return [
        [attribute.value.decode() for attribute in medium.attributes.get("candidate", ())]
        for medium in description.media
    ]


def ends(listed: list[str]) -> list[tuple[str, ...]]:
    """(component, address, port, type) of each candidate."""
    return [(c.split()[1], c.split()[4], c.split()[5], c.split()[7]) for c in listed]


def test_the_relay_stands_in_place_of_the_peer() -> None:
    audio, video = candidates(samples.CHROME, IceAction.REPLACE, PAIR, MediumPlan(RELAY, 30002, 30003))
    assert ends(audio) == [("1", RELAY, "30000", "host"), ("2", RELAY, "30001", "host")]
    assert ends(video) == [("1", RELAY, "30002", "host"), ("2", RELAY, "30003", "host")]


def test_muxed_media_have_one_component() -> None:
    audio, _ = candidates(samples.CHROME, IceAction.REPLACE, MUXED, MUXED)
    assert ends(audio) == [("1", RELAY, "30000", "host")]
    audio, _ = candidates(samples.CHROME, IceAction.REPLACE, MediumPlan(RELAY, 30000, 30000), MUXED)
    assert ends(audio) == [("1", RELAY, "30000", "host")]


def test_the_peers_credentials_stay_for_the_checks_pass_through() -> None:
    for ice in (IceAction.REPLACE, IceAction.ADD):
        lines = lines_of(samples.CHROME, RewritePlan((MUXED, MUXED), ice=ice))
        for kept in ("a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=ice-options:trickle"):
            assert lines.count(kept) == 2


def test_candidates_stand_where_the_peers_stood() -> None:
    lines = lines_of(samples.CHROME, RewritePlan((MUXED, MUXED), ice=IceAction.REPLACE))
    places = [index for index, line in enumerate(lines) if line.startswith("a=candidate:")]
    assert [lines[place + 1] for place in places] == ["a=ice-ufrag:EsAw", "a=ice-options:trickle"]


def test_credentials_of_the_session_are_enough() -> None:
    (audio,) = candidates(samples.ICE_LITE, IceAction.REPLACE, PAIR)
    assert ends(audio) == [("1", RELAY, "30000", "host"), ("2", RELAY, "30001", "host")]
    lines = lines_of(samples.ICE_LITE, RewritePlan((PAIR,), ice=IceAction.REPLACE))
    assert "a=ice-lite" in lines
    assert lines[-1] == "a=end-of-candidates"
    assert not any(line.startswith("a=remote-candidates") for line in lines)


def test_a_user_fragment_that_is_too_long_is_not_kept_whole() -> None:
    """Credentials are part of snapshots, whose texts have limits."""
    body = samples.CHROME.replace(b"a=ice-ufrag:", b"a=ice-ufrag:" + b"x" * 300)
    assert {len(medium.ice_ufrag) for medium in parse(body).media} == {MAX_CHARACTERS}


def test_candidates_follow_the_last_line_if_there_is_no_better_place() -> None:
    body = crlf("v=0\nc=IN IP4 192.0.2.1\na=ice-ufrag:x\nm=audio 4000 RTP/AVP 0\na=sendrecv")
    lines = lines_of(body, RewritePlan((PAIR,), ice=IceAction.REPLACE))
    assert [line[:12] for line in lines[-3:]] == ["a=sendrecv", "a=candidate:", "a=candidate:"]


def test_as_the_last_resort_the_relay_comes_after_all_others() -> None:
    audio, video = candidates(samples.CHROME, IceAction.ADD, MUXED, MUXED)
    offered = [
        attribute.value.decode() for attribute in parse(samples.CHROME).media[0].attributes["candidate"]
    ]
    assert audio[:-1] == offered
    assert ends(audio[-1:]) == [("1", RELAY, "30000", "host")]
    assert int(audio[-1].split()[3]) < min(int(candidate.split()[3]) for candidate in offered)
    assert len(video) == 1


def test_priorities_are_those_of_a_host() -> None:
    (audio,) = candidates(samples.ICE_LITE, IceAction.REPLACE, PAIR)
    assert [candidate.split()[3] for candidate in audio] == ["2130706431", "2130706430"]


def test_candidates_of_one_address_share_a_foundation() -> None:
    (audio,) = candidates(samples.ICE_LITE, IceAction.REPLACE, PAIR)
    ((other, _),) = candidates(samples.ICE_LITE, IceAction.REPLACE, MediumPlan("2001:db8::9", 30000, 30001))
    foundations = {candidate.split()[0] for candidate in audio}
    assert len(foundations) == 1
    assert other.split()[0] not in foundations
    assert all(0 < len(foundation) <= 32 and foundation.isalnum() for foundation in foundations)


@pytest.mark.parametrize("body", [samples.CHROME, samples.ICE_LITE])
def test_ice_is_removed_altogether(body: bytes) -> None:
    plan = RewritePlan((PAIR,) * len(parse(body).media), ice=IceAction.REMOVE)
    description = parse(rewrite(parse(body), plan))
    assert not any(medium.ice for medium in description.media)
    for line in lines_of(body, plan):
        assert "ice-" not in line
        assert "candidate" not in line


def test_an_address_yet_to_come_is_the_relays_without_ice_too() -> None:
    description = parse(rewrite(parse(samples.CHROME), RewritePlan((PAIR, PAIR), ice=IceAction.REMOVE)))
    assert [medium.connection for medium in description.media] == [RELAY, RELAY]
    assert not description.media[1].held


@pytest.mark.parametrize("ice", [IceAction.REPLACE, IceAction.ADD])
def test_ice_is_not_made_up_where_there_is_none(ice: IceAction) -> None:
    plain = rewrite(parse(samples.ASTERISK_LF), RewritePlan((PAIR,)))
    assert rewrite(parse(samples.ASTERISK_LF), RewritePlan((PAIR,), ice=ice)) == plain


PHONE = crlf("""v=0
o=- 1 1 IN IP4 192.0.2.1
c=IN IP4 192.0.2.1
a=ice-ufrag:x
m=audio 4000 RTP/AVP 0
a=rtcp:4001
a=candidate:1 1 UDP 2130706431 192.0.2.1 4000 typ host
a=candidate:2 1 UDP 16777215 198.51.100.3 9000 typ relay raddr 192.0.2.1 rport 4000
m=video 4002 RTP/AVP 96
a=candidate:2 1 UDP 16777215 198.51.100.3 9002 typ relay raddr 192.0.2.1 rport 4002
""")


def test_the_relay_stands_in_place_of_other_relays() -> None:
    media = (PAIR, MediumPlan(RELAY, 30002))
    audio, video = candidates(PHONE, IceAction.RELAY, *media)
    assert ends(audio) == [
        ("1", "192.0.2.1", "4000", "host"),
        ("1", RELAY, "30000", "relay"),
        ("2", RELAY, "30001", "relay"),
    ]
    assert audio[1].endswith(f" UDP 16777215 {RELAY} 30000 typ relay raddr {RELAY} rport 30000")
    assert ends(video) == [("1", RELAY, "30002", "relay")]


def test_beside_a_relay_the_media_stay_where_they_are() -> None:
    lines = lines_of(
        PHONE, RewritePlan((PAIR, MediumPlan(RELAY, 30002)), connection=RELAY, ice=IceAction.RELAY)
    )
    kept = ["c=IN IP4 192.0.2.1", "m=audio 4000 RTP/AVP 0", "a=rtcp:4001", "m=video 4002 RTP/AVP 96"]
    assert [line for line in lines if line[:2] in ("c=", "m=") or line.startswith("a=rtcp:")] == kept


@pytest.mark.parametrize("address", ["198.51.100.3", "2001:db8::3"])
def test_a_medium_at_a_relay_of_its_sender_is_at_this_one(address: str) -> None:
    """m= and c= name a candidate that there is."""
    version = "IP6" if ":" in address else "IP4"
    body = PHONE.replace(b"198.51.100.3", address.replace("db8", "0DB8").encode())
    body = body.replace(b"c=IN IP4 192.0.2.1", f"c=IN {version} {address}".encode())
    body = body.replace(b"m=audio 4000", b"m=audio 9000").replace(b"rtcp:4001", b"rtcp:9001")
    media = (PAIR, MediumPlan(RELAY, 30002))
    plan = RewritePlan(media, connection=RELAY, ice=IceAction.RELAY)
    rewritten = rewrite(parse(body), plan)
    audio, video = parse(rewritten).media
    assert (audio.connection, audio.port) == (RELAY, 30000)
    assert (video.connection, video.port) == (address, 4002)
    assert b"a=rtcp:30001" in rewritten
    assert ends(candidates(body, IceAction.RELAY, *media)[0])[1] == ("1", RELAY, "30000", "relay")
    assert rewrite(parse(rewritten), plan) == rewritten


def test_where_no_medium_stays_the_session_is_at_the_relay() -> None:
    """Its c= says an address of the sender otherwise, which no candidate says."""
    video = PHONE.index(b"m=video")
    rejected = PHONE[:video] + PHONE[video:].replace(b"4002", b"0")
    for body in (rejected.replace(b"m=audio 4000", b"m=audio 0"), PHONE.replace(b"a=ice-ufrag", b"a=x")):
        media = (PAIR, MediumPlan(RELAY, 30002))
        plan = RewritePlan(media, connection=RELAY, ice=IceAction.RELAY)
        lines = rewrite(parse(body), plan).decode().splitlines()
        assert {line for line in lines if line.startswith("c=")} == {f"c=IN IP4 {RELAY}"}


def test_a_medium_without_ice_is_relayed_beside_one_with() -> None:
    body = PHONE.replace(b"a=ice-ufrag:x\r\n", b"").replace(b"a=rtcp:4001", b"a=ice-ufrag:x")
    description = parse(
        rewrite(
            parse(body),
            RewritePlan((PAIR, MediumPlan(RELAY, 30002)), connection=RELAY, ice=IceAction.RELAY),
        )
    )
    assert [(medium.connection, medium.port) for medium in description.media] == [
        ("192.0.2.1", 4000),
        (RELAY, 30002),
    ]


@pytest.mark.parametrize("ice", list(IceAction))
def test_an_untouched_mediums_candidates_stay(ice: IceAction) -> None:
    audio, _ = candidates(samples.CHROME, ice, None, MUXED)
    assert len(audio) == 3


@pytest.mark.parametrize("port", [0, 4000])
def test_a_rejected_medium_has_no_candidates(port: int) -> None:
    offered = "a=ice-ufrag:x\na=candidate:1 1 UDP 1 192.0.2.1 1 typ host"
    body = crlf(f"v=0\nc=IN IP4 192.0.2.1\nm=audio {port} RTP/AVP 0\n{offered}")
    assert candidates(body, IceAction.REPLACE, MediumPlan(RELAY, 0)) == [[]]


@pytest.mark.parametrize("ice", list(IceAction))
@pytest.mark.parametrize("body", [samples.CHROME, samples.ICE_LITE, samples.BUNDLE_ONLY])
def test_the_same_plan_changes_nothing_in_the_result(body: bytes, ice: IceAction) -> None:
    medium = MediumPlan(RELAY, 30000, 40000, MuxAction.ADD)
    plan = RewritePlan((medium,) * len(parse(body).media), connection=RELAY, origin=RELAY, ice=ice, mark="x")
    once = rewrite(parse(body), plan)
    assert rewrite(parse(once), plan) == once
