// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* nh's path in the kernel: a TC program at the ingress of an interface that carries media.
 *
 * A UDP packet whose local address and port are in `flows`, and that comes from the flow's latched source, is counted,
 * rewritten and sent on. Every other packet passes untouched and meets nh's sockets, as if this program were not there.
 *
 * Linux 5.10 or later; CAP_BPF and CAP_NET_ADMIN are enough. `make bpf` builds relay.bpf.o, which is checked in.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "streams.bpf.h"
#include "tables.bpf.h"

#define PASS		TC_ACT_UNSPEC	/* also TCX_NEXT: the next program on the interface sees the packet */
#define ICMPV6		58		/* next header; linux/in6.h does not go with linux/in.h */
#define LOOPBACK	1		/* interface index in every network namespace */

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

/* What the packet queues by on its way out is what a socket's packet would have, not what the way in left behind.
 * The priority is the kernel's own for a TOS without ECN bits (rt_tos2priority): 0, 2, 6 or 4. A mark would choose
 * another next hop (ip rule ... fwmark), a receive queue another transmit queue. bpf_redirect_neigh itself clears
 * the time stamp, which fq would take for a time to send at. */
static __always_inline void enqueue_as_socket(volatile struct __sk_buff *skb, const struct flow *flow)
{
	/* volatile: the verifier accepts no write to two fields at once */
	skb->priority = 0x04060200U >> (flow->tos & 0x18) & 0xff;
	skb->mark = 0;
	skb->queue_mapping = 0;
}

/* The flow that `named`, an entry found for a packet that left by `quoted`, leads to; 0 if it sends elsewhere. */
static __always_inline struct flow *find_sender(const struct flow *named, const struct flow_key *quoted,
						const __be32 *target, __be16 target_port)
{
	struct flow_key came_by = {};
	struct flow *flow;

	if (!named)
		return 0;
	copy(came_by.address, named->out_source);
	came_by.port = named->out_port;
	flow = bpf_map_lookup_elem(&flows, &came_by);
	if (!flow || flow->out_port != quoted->port || !same(flow->out_source, quoted->address))
		return 0;
	return flow->target_port == target_port && same(flow->target, target) ? flow : 0;
}

/* A router, or another host, has no way for a packet of this length (RFC 1191, RFC 8201).
 *
 * `quoted` is from an address and port of the relay to `target`. The flow of the opposite direction, or a marker of
 * user space for that target, says which flow the packet came by: longer ones are left to the socket, which sends them
 * in fragments. User space looks all routes up again when it sees that `too_big` has moved. The message itself passes:
 * the kernel, too, learns of it, for the socket that the packet seems to be of. */
static __always_inline void heed_too_big(const struct flow_key *quoted, const __be32 *target, __be16 target_port,
					 __u32 mtu_bytes)
{
	struct flow_key marker = {};
	struct flow_counters *first;
	struct flow *flow;
	__u32 index = 0;

	first = bpf_map_lookup_elem(&counters, &index);
	if (first)
		__sync_fetch_and_add(&first->too_big, 1);
	flow = find_sender(bpf_map_lookup_elem(&flows, quoted), quoted, target, target_port);
	if (!flow) {
		copy(marker.address, target);
		marker.port = quoted->port;
		marker.target_port = target_port;
		flow = find_sender(bpf_map_lookup_elem(&flows, &marker), quoted, target, target_port);
	}
	if (flow && mtu_bytes < flow->mtu_bytes)
		flow->mtu_bytes = mtu_bytes;
}

/* An ICMP header is as long as UDP's, and `ip` has it in its place. */
static __always_inline void read_icmp4(struct __sk_buff *skb, struct ip4 *ip)
{
	struct flow_key quoted = {};
	__be32 target[4] = {};
	__u32 mtu_bytes = bpf_ntohs(ip->udp.check);

	if (ip->version_words != 0x45 || ip->fragment & bpf_htons(0x3fff) || ip->udp.source != bpf_htons(0x0304))
		return; /* not destination unreachable, fragmentation needed */
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(*ip), ip, sizeof(*ip)))
		return;
	if (ip->version_words != 0x45 || ip->protocol != IPPROTO_UDP)
		return;
	if (mtu_bytes < 68) /* RFC 791; old routers say 0. A flow of 0 takes nothing: see struct flow */
		mtu_bytes = 68;
	quoted.address[2] = target[2] = bpf_htonl(0xffff);
	quoted.address[3] = ip->source;
	quoted.port = ip->udp.source;
	target[3] = ip->target;
	heed_too_big(&quoted, target, ip->udp.target, mtu_bytes);
}

static __always_inline void read_icmp6(struct __sk_buff *skb, struct ip6 *ip)
{
	struct flow_key quoted = {};
	__u32 mtu_bytes = (__u32)bpf_ntohs(ip->udp.bytes) << 16 | bpf_ntohs(ip->udp.check);

	if (ip->udp.source != bpf_htons(0x0200) || mtu_bytes < 1280) /* RFC 8201 4 */
		return;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(*ip), ip, sizeof(*ip)) || ip->protocol != IPPROTO_UDP)
		return;
	copy(quoted.address, ip->source);
	quoted.port = ip->udp.source;
	heed_too_big(&quoted, ip->target, ip->udp.target, mtu_bytes);
}

/* Whether another host may have the calls by now: user space may be dead, and its flows are here still. */
static __always_inline int lease_is_over(void)
{
	struct flow_counters *first;
	__u32 index = 0;

	first = bpf_map_lookup_elem(&counters, &index);
	return first && first->last_seen_ns && bpf_ktime_get_boot_ns() >= first->last_seen_ns;
}

SEC("tc")
int nh_relay(struct __sk_buff *skb)
{
	union {
		struct ip4 ip4;
		struct ip6 ip6;
	} header = {};
	struct packet packet = {};
	struct flow_counters *counted;
	struct flow *flow;
	struct rtp rtp;
	__u32 payload_bytes;
	int readable = 0;
	__u64 now;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->gso_size)
		return PASS;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!parse4(skb, &header.ip4, &packet)) {
			if (header.ip4.protocol == IPPROTO_ICMP)
				read_icmp4(skb, &header.ip4);
			return PASS;
		}
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!parse6(skb, &header.ip6, &packet)) {
			if (header.ip6.protocol == ICMPV6)
				read_icmp6(skb, &header.ip6);
			return PASS;
		}
	} else {
		return PASS;
	}
	flow = bpf_map_lookup_elem(&flows, &packet.to);
	if (!flow || !fits(skb, flow, &packet) || lease_is_over())
		return PASS;
	counted = bpf_map_lookup_elem(&counters, &flow->counter_index);
	if (!counted)
		return PASS;

	payload_bytes = packet.udp_bytes - sizeof(struct udp);
	if (flow->rtp) {
		readable = payload_bytes >= sizeof(rtp) && !bpf_skb_load_bytes(skb, packet.payload, &rtp, sizeof(rtp));
		if (flow->rtp & LEAVE_RTCP && (!readable || is_rtcp(&rtp)))
			return PASS;
	}
	now = bpf_ktime_get_ns();
	__sync_fetch_and_add(&counted->packets, 1);
	__sync_fetch_and_add(&counted->bytes, payload_bytes);
	counted->last_seen_ns = now;
	if (readable)
		count_rtp(&rtp, flow, counted, now);

	if (packet.family == 4)
		rewrite4(skb, &header.ip4, flow);
	else
		rewrite6(skb, &header.ip6, flow);
	enqueue_as_socket(skb, flow);
	if (flow->ifindex == 0)
		return TC_ACT_OK;
	return bpf_redirect_neigh(flow->ifindex, 0, 0, 0);
}

char nh_license[] SEC("license") = "Dual MIT/GPL";
