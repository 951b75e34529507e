// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* nh's path in the kernel: a TC program at the ingress of an interface that carries media.
 *
 * A UDP packet whose local address and port are in `flows`, and that comes from the flow's settled source, is counted,
 * rewritten and sent on. Every other packet passes untouched and meets nh's sockets, as if this program were not there.
 *
 * The structures are nh/fastpath/layout.py's, the statistics nh/calls/rtp_stream.py's; tests hold each pair together.
 * Linux 5.10 or later; CAP_BPF and CAP_NET_ADMIN are enough. `make bpf` builds relay.bpf.o, which is checked in.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PASS		TC_ACT_UNSPEC	/* also TCX_NEXT: whoever is attached behind us sees the packet */
#define LOOPBACK	1		/* interface index in every network namespace */
#define STREAMS		4
#define MAX_DROPOUT	3000		/* RFC 3550 A.1 */
#define WINDOW		64		/* packets that `seen` remembers */
#define NOTHING_BAD	0x10000		/* no sequence number */
#define NS_PER_S	1000000000ULL

struct flow_key {
	__be32 address[4];		/* IPv4 as ::ffff:a.b.c.d, here and below */
	__be16 port;
	__u16 zero;
};

struct flow {
	__be32 source[4];
	__be32 out_source[4];
	__be32 target[4];
	__be16 source_port;
	__be16 out_port;
	__be16 target_port;
	__u16 shard;
	__u32 ifindex;			/* 0: to a socket of this host, from loopback only */
	__u32 slot;			/* in `readings` */
	__u32 mtu_bytes;		/* longest IP packet taken */
	__u32 clock_hz;			/* of payload_type; 0: no jitter */
	__u8 family;			/* 4 or 6 */
	__u8 tos;
	__u8 rtp;			/* 1: keep stream statistics */
	__u8 payload_type;
};

struct stream {
	__u64 seen;			/* bit n: highest - n was received */
	__u64 arrival_ns;		/* of the reference packet; 0: none */
	__u64 jitter_ns;		/* times 16 (RFC 3550 A.8) */
	__u32 ssrc;
	__u32 timestamp;		/* of the reference packet */
	__u32 packets;
	__u32 lost;
	__u32 reordered;
	__u32 duplicates;
	__u32 bad_next;			/* RFC 3550 A.1: bad_seq */
	__u16 highest;
	__u8 payload_type;		/* of the latest packet */
	__u8 used;
};

struct reading {
	__u64 packets;
	__u64 bytes;			/* of UDP payload */
	__u64 last_seen_ns;
	__u32 next_stream;
	__u32 zero;
	struct stream streams[STREAMS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct reading);
} readings SEC(".maps");

struct udp {
	__be16 source, target, bytes;
	__u16 check;
};

struct ip4 {
	__u8 version_words, tos;
	__be16 bytes, id, fragment;
	__u8 ttl, protocol;
	__u16 check;
	__be32 source, target;
	struct udp udp;
};

struct ip6 {
	__be32 version_tos_label;
	__be16 bytes;
	__u8 protocol, ttl;
	__be32 source[4], target[4];
	struct udp udp;
};

struct rtp {
	__u8 version_csrcs, marker_type;
	__be16 sequence;
	__be32 timestamp, ssrc;
};

/* What both families' headers tell. */
struct packet {
	struct flow_key to;
	__be32 source[4];
	__be16 source_port;
	__u16 udp_bytes;
	__u32 ip_bytes;
	__u32 payload;			/* offset in the frame */
	__u8 family;
};

#define AT(type, field)	(ETH_HLEN + __builtin_offsetof(type, field))

static __always_inline int same(const __be32 *a, const __be32 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline void copy(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

/* The headers are copied with bpf_skb_load_bytes: drivers may leave them outside the linear part of a packet. */
static __always_inline int parse4(struct __sk_buff *skb, struct ip4 *ip, struct packet *packet)
{
	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return 0;
	if (ip->version_words != 0x45 || ip->protocol != IPPROTO_UDP || ip->ttl <= 1)
		return 0;
	if (ip->fragment & bpf_htons(0x3fff)) /* all but "don't fragment" */
		return 0;
	packet->family = 4;
	packet->to.address[2] = packet->source[2] = bpf_htonl(0xffff);
	packet->to.address[3] = ip->target;
	packet->source[3] = ip->source;
	packet->to.port = ip->udp.target;
	packet->source_port = ip->udp.source;
	packet->ip_bytes = bpf_ntohs(ip->bytes);
	packet->udp_bytes = bpf_ntohs(ip->udp.bytes);
	packet->payload = ETH_HLEN + sizeof(*ip);
	return packet->ip_bytes == sizeof(*ip) - sizeof(ip->udp) + packet->udp_bytes;
}

static __always_inline int parse6(struct __sk_buff *skb, struct ip6 *ip, struct packet *packet)
{
	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return 0;
	if ((ip->version_tos_label & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return 0;
	if (ip->protocol != IPPROTO_UDP || ip->ttl <= 1 || !ip->udp.check || ip->bytes != ip->udp.bytes)
		return 0;
	packet->family = 6;
	copy(packet->to.address, ip->target);
	copy(packet->source, ip->source);
	packet->to.port = ip->udp.target;
	packet->source_port = ip->udp.source;
	packet->udp_bytes = bpf_ntohs(ip->udp.bytes);
	packet->ip_bytes = sizeof(*ip) - sizeof(ip->udp) + packet->udp_bytes;
	packet->payload = ETH_HLEN + sizeof(*ip);
	return 1;
}

/* Whether the flow is for this packet: addresses, length, and the way it came. */
static __always_inline int fits(struct __sk_buff *skb, const struct flow *flow, const struct packet *packet)
{
	if (packet->udp_bytes < sizeof(struct udp) || packet->ip_bytes > skb->len - ETH_HLEN)
		return 0;
	if (flow->family != packet->family || packet->ip_bytes > flow->mtu_bytes)
		return 0;
	if (flow->source_port != packet->source_port || !same(flow->source, packet->source))
		return 0;
	/* To local sockets from loopback only, else routing takes the packet for a martian. From loopback to local
	 * sockets only: such packets own a route, which bpf_redirect_neigh forgets to release before Linux 6.18. */
	return (flow->ifindex == 0) == (skb->ifindex == LOOPBACK);
}

/* How far a packet's time in the network is from that of the reference packet (RFC 3550 A.8, in ns). */
static __always_inline void measure_jitter(struct stream *stream, __u32 timestamp, __u32 clock_hz, __u64 now)
{
	if (stream->arrival_ns) {
		__s64 ticks = (__s32)(timestamp - stream->timestamp);
		__u64 media_ns = (ticks < 0 ? -ticks : ticks) * NS_PER_S / clock_hz; /* no signed division */
		__s64 late_ns = now - stream->arrival_ns - (ticks < 0 ? -media_ns : media_ns);
		__u64 distance_ns = late_ns < 0 ? -late_ns : late_ns;

		if (distance_ns < 1ULL << 32)
			stream->jitter_ns += distance_ns - ((stream->jitter_ns + 8) >> 4);
	}
	stream->arrival_ns = now;
	stream->timestamp = timestamp;
}

static __always_inline void start_stream(struct stream *stream, __u32 ssrc, __u16 sequence, __u8 payload_type)
{
	__builtin_memset(stream, 0, sizeof(*stream));
	stream->used = 1;
	stream->ssrc = ssrc;
	stream->highest = sequence;
	stream->seen = 1;
	stream->packets = 1;
	stream->payload_type = payload_type;
	stream->bad_next = NOTHING_BAD;
}

/* Returns 0 for a packet that says nothing of timing: a duplicate, or a leap that may be a stray. */
static __always_inline int continue_stream(struct stream *stream, __u16 sequence, __u8 payload_type)
{
	__u32 ahead = (__u16)(sequence - stream->highest);

	stream->packets++;
	stream->payload_type = payload_type;
	if (ahead == 0) {
		stream->duplicates++;
		return 0;
	}
	if (ahead < MAX_DROPOUT) {
		stream->lost += ahead - 1;
		stream->seen = ahead < WINDOW ? stream->seen << ahead | 1 : 1;
		stream->highest = sequence;
		return 1;
	}
	if (ahead > 0x10000 - WINDOW) {
		__u64 bit = 1ULL << (0x10000 - ahead);

		if (stream->seen & bit) {
			stream->duplicates++;
			return 0;
		}
		stream->seen |= bit;
		stream->reordered++;
		if (stream->lost)
			stream->lost--;
		return 1;
	}
	if (sequence != stream->bad_next) {
		stream->bad_next = (sequence + 1) & 0xffff;
		return 0;
	}
	stream->highest = sequence; /* two in a row: the sender restarted */
	stream->seen = 1;
	stream->bad_next = NOTHING_BAD;
	return 1;
}

static __always_inline void count_rtp(struct __sk_buff *skb, const struct flow *flow, struct reading *reading,
				      const struct packet *packet, __u64 now)
{
	struct stream *stream = 0;
	struct rtp rtp;
	__u8 payload_type;
	__u32 ssrc, next;

	if (packet->udp_bytes < sizeof(struct udp) + sizeof(rtp) ||
	    bpf_skb_load_bytes(skb, packet->payload, &rtp, sizeof(rtp)))
		return;
	if (rtp.version_csrcs >> 6 != 2 || (rtp.marker_type >= 192 && rtp.marker_type <= 223)) /* RFC 5761 4 */
		return;
	ssrc = bpf_ntohl(rtp.ssrc);
	payload_type = rtp.marker_type & 0x7f;
#pragma unroll
	for (int i = 0; i < STREAMS; i++)
		if (!stream && reading->streams[i].used && reading->streams[i].ssrc == ssrc)
			stream = &reading->streams[i];
	if (!stream) {
		next = reading->next_stream & (STREAMS - 1);
		stream = &reading->streams[next];
		reading->next_stream = (next + 1) & (STREAMS - 1);
		start_stream(stream, ssrc, bpf_ntohs(rtp.sequence), payload_type);
	} else if (!continue_stream(stream, bpf_ntohs(rtp.sequence), payload_type)) {
		return;
	}
	if (flow->clock_hz && payload_type == flow->payload_type)
		measure_jitter(stream, bpf_ntohl(rtp.timestamp), flow->clock_hz, now);
}

/* The UDP checksum after a change of addresses (`difference`, of the pseudo header) and ports. Packets that another
 * socket of this machine sent may have the pseudo header's sum only, to which ports do not count: hence two calls. */
static __always_inline void mend_udp(struct __sk_buff *skb, __u32 check, __u32 difference, const struct udp *old,
				     const struct udp *new)
{
	__u32 from, to;

	__builtin_memcpy(&from, old, sizeof(from)); /* both ports */
	__builtin_memcpy(&to, new, sizeof(to));
	bpf_l4_csum_replace(skb, check, 0, difference, BPF_F_MARK_MANGLED_0 | BPF_F_PSEUDO_HDR);
	bpf_l4_csum_replace(skb, check, from, to, BPF_F_MARK_MANGLED_0 | sizeof(to));
}

static __always_inline void rewrite4(struct __sk_buff *skb, const struct ip4 *old, const struct flow *flow)
{
	struct ip4 ip = *old;
	__u32 difference;

	ip.tos = flow->tos;
	ip.ttl--;
	ip.source = flow->out_source[3];
	ip.target = flow->target[3];
	ip.udp.source = flow->out_port;
	ip.udp.target = flow->target_port;
	difference = bpf_csum_diff((__be32 *)&old->source, 8, &ip.source, 8, 0);
	mend_udp(skb, AT(struct ip4, udp.check), difference, &old->udp, &ip.udp);
	difference = bpf_csum_diff((__be32 *)old, 12, (__be32 *)&ip, 12, difference);
	bpf_l3_csum_replace(skb, AT(struct ip4, check), 0, difference, 0);
	bpf_skb_store_bytes(skb, ETH_HLEN, &ip, __builtin_offsetof(struct ip4, check), 0);
	bpf_skb_store_bytes(skb, AT(struct ip4, source), &ip.source, 12, 0); /* addresses and ports */
}

static __always_inline void rewrite6(struct __sk_buff *skb, const struct ip6 *old, const struct flow *flow)
{
	struct ip6 ip = *old;
	__u32 difference;

	ip.version_tos_label = bpf_htonl(0x60000000 | (__u32)flow->tos << 20) |
			       (old->version_tos_label & bpf_htonl(0xfffff));
	ip.ttl--;
	copy(ip.source, flow->out_source);
	copy(ip.target, flow->target);
	ip.udp.source = flow->out_port;
	ip.udp.target = flow->target_port;
	difference = bpf_csum_diff((__be32 *)old->source, 32, ip.source, 32, 0);
	mend_udp(skb, AT(struct ip6, udp.check), difference, &old->udp, &ip.udp);
	/* A checksum of the whole packet, if the card made one, follows here, as no checksum in the header does.
	 * (With it BPF_F_PSEUDO_HDR comes out right before Linux 6.16, which has BPF_F_IPV6 for the same end.) */
	bpf_skb_store_bytes(skb, ETH_HLEN, &ip, __builtin_offsetof(struct ip6, udp), BPF_F_RECOMPUTE_CSUM);
	bpf_skb_store_bytes(skb, AT(struct ip6, udp), &ip.udp, 4, 0); /* ports */
}

SEC("tc")
int nh_relay(struct __sk_buff *skb)
{
	union {
		struct ip4 ip4;
		struct ip6 ip6;
	} header = {};
	struct packet packet = {};
	struct reading *reading;
	struct flow *flow;
	__u64 now;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->gso_size)
		return PASS;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!parse4(skb, &header.ip4, &packet))
			return PASS;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!parse6(skb, &header.ip6, &packet))
			return PASS;
	} else {
		return PASS;
	}
	flow = bpf_map_lookup_elem(&flows, &packet.to);
	if (!flow || !fits(skb, flow, &packet))
		return PASS;
	reading = bpf_map_lookup_elem(&readings, &flow->slot);
	if (!reading)
		return PASS;

	now = bpf_ktime_get_ns();
	__sync_fetch_and_add(&reading->packets, 1);
	__sync_fetch_and_add(&reading->bytes, packet.udp_bytes - sizeof(struct udp));
	reading->last_seen_ns = now;
	if (flow->rtp)
		count_rtp(skb, flow, reading, &packet, now);

	if (packet.family == 4)
		rewrite4(skb, &header.ip4, flow);
	else
		rewrite6(skb, &header.ip6, flow);
	if (flow->ifindex == 0)
		return TC_ACT_OK;
	return bpf_redirect_neigh(flow->ifindex, 0, 0, 0);
}

char nh_license[] SEC("license") = "Dual MIT/GPL";
