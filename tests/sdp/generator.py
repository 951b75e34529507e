"""Generated SDPs, and what clients choose of their codecs: every shape that a relay has to understand."""

from hypothesis import strategies as st

from nh.commands import CodecChoice

ports = st.integers(1024, 65533)
ipv4 = st.sampled_from(["192.0.2.1", "192.0.2.77", "198.51.100.20", "0.0.0.0"])
ipv6 = st.sampled_from(["2001:db8::1", "2001:DB8:0:0::1", "::"])
hosts = st.one_of(ipv4.map("IN IP4 {}".format), ipv6.map("IN IP6 {}".format), st.just("IN IP4 224.2.1.1/127"))
protos = st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/AVPF", "UDP/TLS/RTP/SAVPF", "udptl", "TCP/MSRP", "udp"])
values = st.text(
    st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"], max_codepoint=0x2FF),
    max_size=12,
)

plain_attributes = st.sampled_from(
    [
        "rtpmap:0 PCMU/8000",
        "sendrecv",
        "sendonly",
        "inactive",
        "ptime:20",
        "setup:actpass",
        "label:x",
        "X-odd",
    ]
)
relay_attributes = st.one_of(
    st.just("rtcp-mux"),
    ports.map(lambda port: f"rtcp:{port}"),
    st.tuples(ports, hosts).map(lambda rtcp: f"rtcp:{rtcp[0]} {rtcp[1]}"),
    st.just("ice-ufrag:EsAw"),
    st.just("ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"),
    ports.map(lambda port: f"candidate:1 1 UDP 2130706431 192.0.2.1 {port} typ host"),
    st.just("remote-candidates:1 192.0.2.8 4000"),
    st.just("end-of-candidates"),
)
unknown_attributes = st.builds("x-{}:{}".format, st.integers(0, 99), values)
attribute_lines = st.lists(
    st.one_of(plain_attributes, relay_attributes, unknown_attributes).map(lambda text: f"a={text}"),
    max_size=8,
)


@st.composite
def media(draw: st.DrawFn) -> list[str]:
    port = draw(st.one_of(st.just(0), ports))
    count = draw(st.sampled_from(["", "", "", "/2"]))
    lines = [f"m={draw(st.sampled_from(['audio', 'video', 'image']))} {port}{count} {draw(protos)} 0 8"]
    if draw(st.booleans()):
        lines.append("i=title")
    if draw(st.booleans()):
        lines.append(f"c={draw(hosts)}")
    if draw(st.booleans()):
        lines.append("b=AS:64")
    if draw(st.booleans()):  # drawn one by one, the lines of ICE hardly ever come together
        lines += ["a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"]
        lines += [f"a=candidate:1 1 UDP 2130706431 192.0.2.1 {port} typ host"]
    return lines + draw(attribute_lines)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body that parses: a session, up to four media, any line ends, perhaps junk behind a blank line."""
    lines = ["v=0", f"o=- 1 1 {draw(hosts)}", f"s={draw(values)}"]
    if draw(st.booleans()):
        lines.append(f"c={draw(hosts)}")
    lines += ["t=0 0", *draw(attribute_lines)]
    for medium in draw(st.lists(media(), max_size=4)):
        lines += medium
    ends = draw(st.sampled_from([["\r\n"], ["\n"], ["\r"], ["\r\n", "\n"]]))
    body = "".join(line + ends[index % len(ends)] for index, line in enumerate(lines))
    tail = draw(st.sampled_from(["", "\r\n", "\r\njunk\r\n", "\0"]))
    return (body.rstrip("\r\n") if not tail and draw(st.booleans()) else body + tail).encode()


codec_names = st.sampled_from(
    ["PCMU", "pcma/8000", "G729", "all", "full", "0", "8", "opus", "telephone-event", "", "/", "é"]
)
_names = st.lists(codec_names, max_size=4).map(tuple)
codec_choices = st.builds(
    CodecChoice,
    strip=_names,
    mask=_names,
    keep=_names,
    offer=_names,
    transcode=_names,
    single=st.booleans(),
    reject_empty=st.booleans(),
)
