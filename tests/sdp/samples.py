"""SDPs as phones, browsers, gateways and proxies write them, after the RFCs and public documentation."""


def crlf(text: str) -> bytes:
    """`text` as a body: its lines, each with CRLF."""
    return "".join(f"{line}\r\n" for line in text.strip("\n").split("\n")).encode()


# RFC 3264 10.1: audio and two video streams
RFC3264_OFFER = crlf("""
v=0
o=alice 2890844526 2890844526 IN IP4 host.anywhere.com
s=
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0
a=rtpmap:0 PCMU/8000
m=video 51372 RTP/AVP 31
a=rtpmap:31 H261/90000
m=video 53000 RTP/AVP 32
a=rtpmap:32 MPV/90000
""")

# RFC 3264 10.1: the first video stream is turned down
RFC3264_ANSWER = crlf("""
v=0
o=bob 2890844730 2890844730 IN IP4 host.example.com
s=
c=IN IP4 192.0.2.20
t=0 0
m=audio 49920 RTP/AVP 0
a=rtpmap:0 PCMU/8000
m=video 0 RTP/AVP 31
m=video 53000 RTP/AVP 32
a=rtpmap:32 MPV/90000
""")

# RFC 3605 2.1 in a session of RFC 8866 5
RFC3605_RTCP = crlf("""
v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
t=0 0
m=audio 49170 RTP/AVP 0
a=rtcp:53020
m=audio 49180 RTP/AVP 0
a=rtcp:53022 IN IP4 126.16.64.4
m=audio 49190 RTP/AVP 0
a=rtcp:53024 IN IP6 2001:DB8::4
""")

# RFC 8866 5: a multicast session with a TTL
MULTICAST = crlf("""
v=0
o=jdoe 2890844526 2890842807 IN IP4 10.47.16.5
s=SDP Seminar
c=IN IP4 224.2.17.12/127
t=2873397496 2873404696
a=recvonly
m=audio 49170 RTP/AVP 0
m=video 51372/2 RTP/AVP 99
c=IN IP4 224.2.1.1/127/3
a=rtpmap:99 h263-1998/90000
""")

IPV6 = crlf("""
v=0
o=- 3724394400 3724394400 IN IP6 2001:db8::10
s=-
c=IN IP6 2001:DB8:0:0::10
t=0 0
m=audio 6000 RTP/AVP 0 8 101
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
""")

CHROME = crlf("""
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 5cf1
m=audio 54609 UDP/TLS/RTP/SAVPF 111 0 8 110
c=IN IP4 203.0.113.141
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1467250027 1 udp 2122260223 192.0.2.44 54609 typ host generation 0 network-id 1
a=candidate:435653019 1 tcp 1518280447 192.0.2.44 9 typ host tcptype active generation 0 network-id 1
a=candidate:842163049 1 udp 1686052607 203.0.113.141 54609 typ srflx raddr 192.0.2.44 rport 54609 generation 0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-1 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:2566107569 cname:t9YU8M1UxTF8Y1A1
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-1 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D
a=setup:actpass
a=mid:1
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
""")

# an ICE lite peer: credentials for the whole session, both components, a port of its own for RTCP
ICE_LITE = crlf("""
v=0
o=gw 20518 0 IN IP4 203.0.113.77
s=-
c=IN IP4 203.0.113.77
t=0 0
a=ice-lite
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=ice-ufrag:8hhY
m=audio 10102 RTP/AVP 0
b=RS:0
b=RR:0
a=rtpmap:0 PCMU/8000
a=candidate:1 1 UDP 2130706431 203.0.113.77 10102 typ host
a=candidate:1 2 UDP 2130706430 203.0.113.77 10103 typ host
a=remote-candidates:1 192.0.2.1 4000 2 192.0.2.1 4001
a=end-of-candidates
""")

# RFC 9143 18.1: the video is offered without an address of its own
BUNDLE_ONLY = crlf("""
v=0
o=alice 2890844526 2890844526 IN IP6 2001:db8::3
s=
c=IN IP6 2001:db8::3
t=0 0
a=group:BUNDLE foo bar
m=audio 10000 RTP/AVP 0 8 97
b=AS:200
a=mid:foo
a=rtcp-mux
a=rtpmap:97 iLBC/8000
m=video 0 RTP/AVP 31 32
b=AS:1000
a=mid:bar
a=rtcp-mux
a=bundle-only
a=rtpmap:32 MPV/90000
""")

# a fax's re-INVITE (ITU-T T.38 annex D)
T38 = crlf("""
v=0
o=CiscoSystemsSIP-GW-UserAgent 5645 3455 IN IP4 192.0.2.30
s=SIP Call
c=IN IP4 192.0.2.30
t=0 0
m=image 16482 udptl t38
c=IN IP4 192.0.2.30
a=T38FaxVersion:0
a=T38MaxBitRate:14400
a=T38FaxRateManagement:transferredTCF
a=T38FaxMaxBuffer:200
a=T38FaxMaxDatagram:72
a=T38FaxUdpEC:t38UDPRedundancy
""")

# audio and the same fax offered side by side, over TCP too
T38_BESIDE_AUDIO = crlf("""
v=0
o=- 1 2 IN IP4 192.0.2.31
s=-
c=IN IP4 192.0.2.31
t=0 0
m=audio 4000 RTP/AVP 8
m=image 4002 udptl t38
m=image 4004 tcp t38
""")

# MSRP (RFC 4975 5.4) beside SDES audio (RFC 4568 9.1)
MSRP_AND_SDES = crlf("""
v=0
o=alice 2890844526 2890844527 IN IP4 alice.example.com
s=-
c=IN IP4 192.0.2.40
t=0 0
m=message 7394 TCP/MSRP *
a=accept-types:text/plain
a=path:msrp://192.0.2.40:7394/2s93i9ek2a;tcp
m=audio 49170 RTP/SAVP 0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4
a=label:main
""")

CISCO_HOLD = crlf("""
v=0
o=Cisco-SIPUA 19025 1 IN IP4 192.0.2.50
s=SIP Call
t=0 0
m=audio 16384 RTP/AVP 0 8 18 101
c=IN IP4 0.0.0.0
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=sendonly
""")

POLYCOM = crlf("""
v=0
o=- 1186069962 1186069962 IN IP4 192.0.2.60
s=Polycom IP Phone
c=IN IP4 192.0.2.60
b=AS:512
t=0 0
a=sendonly
m=audio 2226 RTP/AVP 9 0 8 18 127
a=rtpmap:127 telephone-event/8000
m=video 2228 RTP/AVP 109
a=inactive
""")

LINPHONE = crlf("""
v=0
o=alice 2083 2893 IN IP4 192.0.2.70
s=Talk
c=IN IP4 192.0.2.70
b=AS:380
t=0 0
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
m=audio 7078 RTP/AVPF 96 97 0
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtcp-fb:* trr-int 5000
m=video 9078 RTP/AVPF 96
a=rtpmap:96 VP8/90000
a=rtcp-fb:* ccm tmmbr
""")

# as many stacks have done: LF only, and the last line without an end
ASTERISK_LF = (
    b"v=0\no=root 1821 1821 IN IP4 192.0.2.80\ns=Asterisk PBX\nc=IN IP4 192.0.2.80\nt=0 0\n"
    b"m=audio 15286 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\na=silenceSupp:off - - - -\na=ptime:20"
)

ODD_WHITE_SPACE = (
    b"v=0 \r\no=Jane  Doe\t12  13 in ip4\t192.0.2.90 \r\ns= \r\nc=IN  IP4 192.0.2.90\t\r\nt=0 0\r\n"
    b"m=audio  4000\tRTP/AVP  0 \r\na= rtcp: 5001 \r\na=sendonly \r\n"
)

MIXED_LINE_ENDS_AND_JUNK = (
    b"\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.91\ns=-\rt=0 0\r\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.91\r\n"
    b"\r\n--boundary--\r\n\0\0\0"
)

ALL = {name: value for name, value in list(globals().items()) if name.isupper() and isinstance(value, bytes)}
