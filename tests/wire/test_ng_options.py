"""nh.wire.ng.options and flags: what clients may ask for, and what nh does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.commands import (
    BundleOptions,
    CodecChoice,
    Delete,
    DtlsOptions,
    EndpointLearning,
    Feature,
    IceHandling,
    Offer,
    OfferOptions,
    RtcpAttribute,
    SdesOptions,
    SdpText,
)
from nh.results import Failure, LeftOut
from nh.wire.ng import NgRequest, decode_request
from nh.wire.ng.rtpp_flags import split
from nh.wire.ng.unsupported import UNSUPPORTED_FLAGS, UNSUPPORTED_KEYS
from tests.wire.fuzz import fuzzed
from tests.wire.ng import offer, payload


def request(**fields: Any) -> NgRequest:
    return decode_request(offer(**fields))


def options(**fields: Any) -> OfferOptions:
    command = request(**fields).command
    assert isinstance(command, Offer), command
    return command.options


def rejected(**fields: Any) -> Failure:
    command = request(**fields).command
    assert isinstance(command, Failure), command
    return command


# --- granted --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"flags": ["trust-address"]}, OfferOptions()),
        ({"flags": ["SDES-nonew"]}, OfferOptions(sdes=SdesOptions(no_new=True))),
        ({"DTLS-reverse": "passive"}, OfferOptions(dtls=DtlsOptions(active=False))),
        ({"DTLS-reverse": ["active"]}, OfferOptions(dtls=DtlsOptions(active=True))),
        ({"flags": ["SIP source address"]}, OfferOptions(trust_received=True)),
        ({"flags": ["SIP-source-address"]}, OfferOptions(trust_received=True)),
        ({"flags": "asymmetric"}, OfferOptions(asymmetric=True)),
        ({"flags": ["strict_source"]}, OfferOptions(strict_source=True)),
        ({"flags": ["media-handover"]}, OfferOptions(media_handover=True)),
        ({"flags": ["port-latching"]}, OfferOptions(port_latching=True)),
        ({"flags": ["loop-protect"]}, OfferOptions(loop_protect=True)),
        ({"flags": ["reject-ICE"]}, OfferOptions(reject_ice=True)),
        ({"flags": ["trickle-ICE", "fragment"]}, OfferOptions(trickle=True, fragment=True)),
        ({"flags": ["replace-origin"]}, OfferOptions(replace_origin=True)),
        ({"flags": ["rtcp-mux-demux"]}, OfferOptions(mux_demux=True)),
        ({"replace": "origin"}, OfferOptions(replace_origin=True)),
        ({"replace": ["session connection"]}, OfferOptions()),
        ({"ICE": "remove"}, OfferOptions(ice=IceHandling.REMOVE)),
        ({"ICE": ["force", "trickle"]}, OfferOptions(ice=IceHandling.FORCE, trickle=True)),
        ({"ICE": ["ice2", "lite-both"]}, OfferOptions(ice2=True)),
        ({"ICE-lite": "forward"}, OfferOptions()),
        ({"ICE": "optional"}, OfferOptions(ice=IceHandling.OPTIONAL)),
        ({"ICE": "force relay"}, OfferOptions(ice=IceHandling.FORCE_RELAY)),
        ({"rtcp-mux": ["offer", "accept"]}, OfferOptions(mux_offer=True, mux_accept=True)),
        ({"rtcp-mux": "require"}, OfferOptions(mux_offer=True, mux_require=True)),
        ({"direction": ["priv", "pub"]}, OfferOptions(direction=("priv", "pub"))),
        ({"to-interface": "pub", "from-interface": "priv"}, OfferOptions(direction=("priv", "pub"))),
        ({"from-interface": "priv"}, OfferOptions(direction=("priv", ""))),
        ({"to-interface": "pub"}, OfferOptions(direction=("", "pub"))),
        ({"address_family": "IP6"}, OfferOptions(family=6)),
        ({"media-address": "2001:DB8::1"}, OfferOptions(media_address="2001:db8::1")),
        ({"media-address": "::ffff:192.0.2.7"}, OfferOptions(media_address="192.0.2.7")),
        ({"received-from": "192.0.2.7"}, OfferOptions(received_from="192.0.2.7")),
        ({"received-from": ["IP6", "[2001:DB8:0::7]"]}, OfferOptions(received_from="2001:db8::7")),
        ({"received-from": ["IP4", "0.0.0.0"]}, OfferOptions()),
        ({"received-from": ["IP6", "::ffff:192.0.2.7"]}, OfferOptions(received_from="192.0.2.7")),
        ({"received-from": ["IP6", "0:0::0"]}, OfferOptions()),
        ({"received-from": ["IP6", "::ffff:0.0.0.0"]}, OfferOptions()),
        ({"received-from": ["IP4", "255.255.255.255"]}, OfferOptions()),
        ({"TOS": 184}, OfferOptions(dscp=46)),
        ({"TOS": "184"}, OfferOptions(dscp=46)),
        ({"TOS": -1}, OfferOptions(keeps_dscp=True)),
        ({"TOS": 256}, OfferOptions()),
        ({"label": "caller"}, OfferOptions(label="caller")),
        ({"transport-protocol": "rtp/savp"}, OfferOptions(transport_protocol="RTP/SAVP")),
        (
            {"OSRTP": ["offer", "accept"]},
            OfferOptions(osrtp_offer=True, osrtp_accept=True, osrtp_accept_twice=True),
        ),
        ({"OSRTP": ["accept-legacy"]}, OfferOptions(osrtp_accept_twice=True)),
        ({"flags": ["OSRTP-offer-legacy"]}, OfferOptions(osrtp_offer_twice=True)),
        (
            {"flags": ["SDES-offerer_pref:AES_256_CM_HMAC_SHA1_80;NONE", "SDES-prefer", "SDES-static"]},
            OfferOptions(sdes=SdesOptions(prefer=True, offerer_order=("AES_256_CM_HMAC_SHA1_80",))),
        ),
        ({"flags": ["OSRTP-offer-RFC"]}, OfferOptions(osrtp_offer=True)),
        ({"flags": ["OSRTP-accept-RFC"]}, OfferOptions(osrtp_accept=True)),
        ({"transport-protocol": "accept"}, OfferOptions(transport_protocol="accept")),
        ({"flags": ["no-port-latching"]}, OfferOptions(port_latching=False)),
        ({"endpoint-learning": "off"}, OfferOptions(learning=EndpointLearning.OFF)),
        ({"endpoint-learning": ["immediate"]}, OfferOptions(learning=EndpointLearning.IMMEDIATE)),
        ({"endpoint learning": "delayed"}, OfferOptions(learning=EndpointLearning.DELAYED)),
        ({"flags": ["endpoint-learning-heuristic"]}, OfferOptions(learning=EndpointLearning.HEURISTIC)),
        (
            {"rtpp-flags": "strict-source endpoint-learning=off"},
            OfferOptions(strict_source=True, learning=EndpointLearning.OFF),
        ),
        ({"record-call": "no", "generate-RTCP": "off"}, OfferOptions()),
        (
            {"codec": {"transcode": [], "mask": "no", "except": "default"}, "ptime": 0, "T.38": "stop"},
            OfferOptions(),
        ),
        (
            {"codec-transcode": "off", "flags": ["codec-strip-0"]},
            OfferOptions(codecs=CodecChoice(strip=("0",))),
        ),
        (
            {"flags": ["codec-strip-all", "codec-strip-EVS", "codec-offer-AMR/8000/1///mode--7"]},
            OfferOptions(codecs=CodecChoice(strip=("all", "EVS"), offer=("AMR/8000/1///mode=7",))),
        ),
        (
            {"codec": {"mask": "all", "except": ["PCMU", "G722"]}, "flags": ["codec-except-PCMU"]},
            OfferOptions(codecs=CodecChoice(mask=("all",), keep=("PCMU", "G722"))),
        ),
        (
            {"rtpp-flags": "codec=[transcode=[PCMA PCMU] strip=[EVS]] transcode-G722 allow-no-codec-media"},
            OfferOptions(
                codecs=CodecChoice(strip=("EVS",), transcode=("G722", "PCMA", "PCMU"), reject_empty=True)
            ),
        ),
        ({"flags": ["codec strip opus"]}, OfferOptions(codecs=CodecChoice(strip=("opus",)))),
        ({"flags": ["recrypt"]}, OfferOptions(recrypt=True)),
        ({"flags": ["block DTMF"]}, OfferOptions(block_dtmf=True)),
        (
            {"flags": ["no tls id"], "DTLS": "active"},
            OfferOptions(dtls=DtlsOptions(active=True, no_tls_id=True)),
        ),
        ({"alias-key": "off"}, OfferOptions()),
        ({"flags": ["single codec"]}, OfferOptions(codecs=CodecChoice(single=True))),
        (
            {"flags": ["WebRTC"]},
            OfferOptions(
                ice=IceHandling.FORCE,
                trickle=True,
                mux_offer=True,
                mux_require=True,
                transport_protocol="UDP/TLS/RTP/SAVPF",
                bundle=BundleOptions(offer=True),
                sdes=SdesOptions(off=True),
                text=SdpText(rtcp_attribute=RtcpAttribute.NONE, generate_mid=True),
            ),
        ),
    ],
)
def test_what_a_relay_can_do_becomes_an_option(fields: dict[str, Any], expected: OfferOptions) -> None:
    assert options(**fields) == expected
    assert request(**fields).ignored == ""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"flags": ["generate mid"]}, SdpText(generate_mid=True)),
        ({"flags": ["original-sendrecv"]}, SdpText(original_direction=True)),
        ({"flags": ["no-RTCP-attribute"]}, SdpText(rtcp_attribute=RtcpAttribute.NONE)),
        ({"flags": ["full-rtcp-attribute"]}, SdpText(rtcp_attribute=RtcpAttribute.FULL)),
        ({"flags": ["strip-extmap"]}, SdpText(extensions=("all",))),
        ({"extmap": {"strip": ["urn:x", "urn:y"]}}, SdpText(extensions=("urn:x", "urn:y"))),
        ({"rtpp-flags": "extmap=[strip=[all]]"}, SdpText(extensions=("all",))),
        ({"replace": ["zero address", "SDP version"]}, SdpText(zero_address=True, version=True)),
        ({"replace": ["force-increment-sdp-ver"]}, SdpText(force_version=True)),
        ({"replace": ["username", "session-name"]}, SdpText(username=True, session_name=True)),
        ({"flags": ["replace-SDP-version"]}, SdpText(version=True)),
        ({"sdp-media-remove": ["Video", "other"]}, SdpText(removed_media=("video", "other"))),
    ],
)
def test_what_concerns_the_text_alone_is_an_option_of_the_text(
    fields: dict[str, Any], expected: SdpText
) -> None:
    assert options(**fields) == OfferOptions(text=expected)
    assert request(**fields).ignored == ""


def test_a_whole_origin_has_the_relays_address() -> None:
    assert options(replace=["origin-full"]) == OfferOptions(
        replace_origin=True, text=SdpText(whole_origin=True)
    )


def edits(**fields: Any) -> list[tuple[str, bytes, bytes]]:
    text = options(**fields).text
    assert text is not None
    return [(edit.kind, edit.match, edit.text) for edit in text.attributes]


@pytest.mark.parametrize("session", ["none", "global", "None"])
def test_attributes_are_edited_by_type_of_media(session: str) -> None:
    asked = {
        session: {"add": ["sendrecv", "a=tool:x"], "remove": "group"},
        "Video": {"remove": ["rtpmap:101 telephone-event/8000"]},
    }
    assert edits(**{"sdp-attr": asked}) == [
        ("", b"", b"sendrecv"),
        ("", b"", b"tool:x"),
        ("", b"group", b""),
        ("video", b"rtpmap:101 telephone-event/8000", b""),
    ]


@pytest.mark.parametrize(
    "pairs",
    [[["a:1", "b:2"], ["c", "d"]], ["a:1>b:2", "c>d"]],
)
def test_attributes_are_substituted_by_pairs(pairs: list[object]) -> None:
    found = edits(**{"sdp-attr": {"audio": {"substitute": pairs}}})
    assert found == [("audio", b"a:1", b"b:2"), ("audio", b"c", b"d")]


def test_one_pair_needs_no_list_of_its_own() -> None:
    assert edits(**{"sdp-attr": {"audio": {"substitute": ["a", "b"]}}}) == [("audio", b"a", b"b")]


# --- left out, and said so ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"flags": ["fly", "symmetric"]}, "fly"),
        ({"flags": ["SDES-never"]}, "SDES=never"),
        ({"replace": ["timing"]}, "replace-timing"),
        ({"sdp-attr": {"audio": {"turn": ["x"]}}}, "sdp-attr-turn"),
        ({"sdp-attr": {"audio": {"substitute": [["x"], ["a", ""]]}}}, "sdp-attr-substitute"),
        ({"flags": ["sdp-attr-add-audio"]}, "sdp-attr-add"),
        ({"DTLS": "sometimes"}, "DTLS=sometimes"),
        ({"ICE": "zigzag"}, "ICE=zigzag"),
        ({"T.38": "fast"}, "T.38=fast"),
        ({"record-call": "perhaps"}, "record-call=perhaps"),
        ({"all": "others"}, "all=others"),
        ({"my-own-key": "x"}, "my-own-key"),
        ({"received-from": ["IP4", "here"]}, "received-from"),
        ({"direction": ["a", "b", "c"]}, "direction beyond the second"),
        (
            {"flags": ["inject DTMF", "always transcode", "reuse codecs"]},
            "inject DTMF, always transcode, reuse codecs",
        ),
        ({"codec": {"accept": ["PCMU", "PCMA"], "set": ["PCMU"]}}, "codec-accept, codec-set"),
        ({"codec-accept": ["PCMU"]}, "codec-accept"),
        ({"alias-key": "SDP"}, "alias-key"),
        ({"flags": ["codec-ignore-EVS"]}, "codec-ignore"),
        ({"codec": {"play": ["PCMU"]}}, "codec-play"),
        ({"extmap": {"add": ["x"]}}, "extmap=add"),
    ],
)
def test_what_changes_nothing_is_named_in_a_warning(fields: dict[str, Any], named: str) -> None:
    assert isinstance(request(**fields).command, Offer)
    assert request(**fields).ignored == named


def test_a_string_with_commas_is_a_list_of_words() -> None:
    listed = request(
        replace=["origin", "username"], **{"rtcp-mux": ["offer", "accept"]}, codec={"strip": ["A", "B"]}
    )
    written = request(replace="origin,username", **{"rtcp-mux": "offer,accept"}, codec={"strip": "A,B"})
    assert (written.command, written.ignored) == (listed.command, "")
    raw = request(**{"rtpp-flags": "replace=origin,username rtcp-mux=offer,accept codec-strip=A,B"})
    assert raw.command == listed.command


def test_an_attribute_keeps_its_commas() -> None:
    command = request(**{"sdp-attr": {"audio": {"add": "fmtp:101 0-15,66"}}}).command
    assert isinstance(command, Offer)
    assert [edit.text for edit in command.options.text.attributes] == [b"fmtp:101 0-15,66"]


def test_a_warning_does_not_grow_with_the_request() -> None:
    ignored = request(flags=[f"flag-{number}-{'x' * 100}" for number in range(500)]).ignored
    assert len(ignored) < 600


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"flags": ["codec-consume-all"]},
        {"codec": {"accept": ["PCMU"], "consume": ["PCMA"]}},
        {"flags": ["record-call"]},
        {"record-call": "yes"},
        {"flags": ["T38-decode"]},
        {"flags": ["generate-RTCP"]},
        {"ICE-lite": "off"},
        {"ICE": ["lite-off"]},
        {"T.38": ["force"]},
        {"ptime": 20},
        {"extmap": {"mask": ["all"]}},
        {"media-echo": "both"},
        {"drop-traffic": "start"},
        {"rtpp-flags": "replace-origin codec=[consume=[PCMA PCMU] strip=[EVS]]"},
    ],
)
def test_what_a_relay_cannot_do_is_never_passed_over(fields: dict[str, Any]) -> None:
    failure = rejected(**fields)
    assert failure.code == "unsupported"


def test_a_delete_is_not_refused_for_what_an_offer_would_be() -> None:
    deleted = decode_request(payload("delete", call_id="c", flags=["record-call"], TOS="x"))
    assert isinstance(deleted.command, Delete)


ALL = frozenset(Feature)


def test_what_the_settings_leave_out_is_named_and_the_request_goes_on() -> None:
    lenient = decode_request(
        offer(flags=["record-call", "fly"], ptime=20), frozenset({Feature.RECORDING, Feature.CODECS})
    )
    assert isinstance(lenient.command, Offer)
    assert lenient.left_out == "record-call (nh records nothing), ptime (nh does not transcode)"
    assert lenient.ignored == "fly"


def test_another_feature_is_refused_all_the_same() -> None:
    lenient = decode_request(offer(flags=["record-call"], ptime=20), frozenset({Feature.RECORDING}))
    assert lenient.command == Failure("unsupported", "ptime (nh does not transcode)")


@pytest.mark.parametrize("name", sorted({*UNSUPPORTED_FLAGS}))
def test_every_flag_that_is_refused_can_be_left_out(name: bytes) -> None:
    assert isinstance(decode_request(offer(flags=[name]), ALL).command, Offer)


@pytest.mark.parametrize("name", sorted({*UNSUPPORTED_KEYS}))
def test_every_key_that_is_refused_can_be_left_out(name: bytes) -> None:
    assert isinstance(decode_request(offer(**{name.decode(): "anything"}), ALL).command, Offer)


def test_a_delete_has_nothing_to_leave_out() -> None:
    deleted = decode_request(payload("delete", call_id="c", flags=["record-call"]), ALL)
    assert deleted.left_out == ""


@pytest.mark.parametrize("name", ["start recording", "play media", "play DTMF", "start forwarding"])
def test_a_command_is_left_out_where_ok_is_all_that_its_client_needs(name: str) -> None:
    request = payload(name, call_id="c", from_tag="a")
    assert decode_request(request).command == Failure("unsupported", name)
    assert decode_request(request, ALL).command == LeftOut()
    assert decode_request(payload(name), ALL).command == Failure("bad_request", "No call-id in message")


@pytest.mark.parametrize("name", ["subscribe request", "publish", "create", "cli"])
def test_a_command_whose_reply_has_more_is_refused_whatever_the_settings_say(name: str) -> None:
    assert decode_request(payload(name, call_id="c"), ALL).command == Failure("unsupported", name)


@pytest.mark.parametrize(
    "fields",
    [
        {"address-family": "IPX"},
        {"media-address": "media.example.org"},
        {"TOS": "high"},
        {"label": "x" * 300},
        {"direction": ["x" * 300]},
        {"sdp-attr": {"audio": {"add": ["x\r\nm=video 1 RTP/AVP 0"]}}},
        {"sdp-attr": {"audio": {"substitute": [["x", "y\n"]]}}},
        {"sdp-attr": {"none": {"remove": [f"x:{number}" for number in range(300)]}}},
    ],
)
def test_a_value_that_no_relay_could_read_is_an_error(fields: dict[str, Any]) -> None:
    failure = rejected(**fields)
    assert failure.code == "bad_request"
    assert failure.message.startswith("Invalid value for ")


# --- raw flags ------------------------------------------------------------------------------------


def test_raw_flags_are_taken_apart_like_kamailios() -> None:
    raw = (
        "  replace-origin via-branch=branch label=callee strict-source OSRTP=[accept] direction=priv"
        " direction=pub RTP/SAVPF ICE=[force trickle] address-family=IP4 rtcp-mux-offer"
    )
    command = request(rtpp_flags=raw).command
    assert isinstance(command, Offer)
    assert command.via_branch == b"branch"
    assert command.options == OfferOptions(
        replace_origin=True,
        label="callee",
        strict_source=True,
        direction=("priv", "pub"),
        transport_protocol="RTP/SAVPF",
        ice=IceHandling.FORCE,
        trickle=True,
        family=4,
        mux_offer=True,
        osrtp_accept=True,
        osrtp_accept_twice=True,
    )


@pytest.mark.parametrize(
    "raw",
    [
        "sdp-attr=[audio=[add=[x..y--1] remove=[ptime] substitute=[a>b]]]",
        "sdp-attr=[audio=[add=[x..y--1] remove=[ptime] substitute=[[a b]]]]",
        "sdp-attr-add-audio-x..y--1 sdp-attr-remove-audio-ptime sdp-attr-substitute-audio-a>b",
    ],
)
def test_raw_flags_may_edit_attributes(raw: str) -> None:
    assert edits(rtpp_flags=raw) == [
        ("audio", b"", b"x y=1"),
        ("audio", b"ptime", b""),
        ("audio", b"a", b"b"),
    ]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"k=[a b]", [b"a", b"b"]),
        (b"k=[a=[b c] d=[e]]", {b"a": [b"b", b"c"], b"d": [b"e"]}),
        (b"k=[[a b] [c d]]", [[b"a", b"b"], [b"c", b"d"]]),
        (b"k=[mode=reflect]", [b"mode=reflect"]),
        (b"k=[a=[b", {b"a": [b"b"]}),
        (b"k=[]", []),
    ],
)
def test_lists_in_raw_flags_may_be_dictionaries(raw: bytes, value: object) -> None:
    assert list(split(raw)) == [(b"k", value)]


def test_a_tag_in_raw_flags_counts() -> None:
    deleted = decode_request(
        payload("delete", call_id="c", from_tag="a", to_tag="b", rtpp_flags="to-tag=x delete-delay=0")
    )
    assert deleted.command == Delete(b"c", b"a", b"x", b"", 0)


@pytest.mark.parametrize(
    ("raw", "transport"),
    [
        (b"SRTP", b"RTP/SAVP"),
        (b"SRTP AVPF", b"RTP/SAVPF"),
        (b"RTP", b"RTP/AVP"),
        (b"RTP/SAVPF RTP", b"RTP/AVPF"),
        (b"DTLS AVPF", b"UDP/TLS/RTP/SAVPF"),
    ],
)
def test_words_for_transports_become_one(raw: bytes, transport: bytes) -> None:
    assert list(split(raw)) == [(b"transport-protocol", transport)]


@pytest.mark.parametrize("raw", [b"", b"   ", b"[", b"]]]", b"=", b"a=", b"a=[[[[", b"a=[b c"])
def test_odd_raw_flags_do_no_harm(raw: bytes) -> None:
    list(split(raw))
    decode_request(offer(rtpp_flags=raw))


@fuzzed
@given(st.text("ab=[] -", max_size=200).map(str.encode) | st.binary(max_size=200))
def test_any_raw_flags_do_no_harm(raw: bytes) -> None:
    decode_request(offer(rtpp_flags=raw))


@pytest.mark.parametrize("key", ["dtmf_log_dest", "dtmf_log_destination"])
@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("192.0.2.1:2228", Endpoint("192.0.2.1", 2228)),
        ("[2001:DB8::0:1]:65535", Endpoint("2001:db8::1", 65535)),
        ("", None),
    ],
)
def test_telephone_events_go_where_the_client_says(key: str, value: str, target: Endpoint | None) -> None:
    assert options(**{key: value}).dtmf_target == target


@pytest.mark.parametrize(
    "value",
    [
        "192.0.2.1",
        "192.0.2.1:",
        ":2228",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        f"192.0.2.1:{'9' * 5000}",
        "host:2228",
        "192.0.2.1:22\u0660",
        "224.0.0.1:2228",
        "0.0.0.0:2228",
        "[::1:2228",
        "::1:2228",
        "[127.0.0.1]:2228",
        "192.0.2.1:-1",
    ],
    ids=lambda value: value[:24],
)
def test_telephone_events_go_to_no_other_place(value: str) -> None:
    asked = request(dtmf_log_dest=value)
    assert asked.ignored == "dtmf-log-dest"
    assert isinstance(asked.command, Offer)
    assert asked.command.options.dtmf_target is None
