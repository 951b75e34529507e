/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the program and user space share: the maps and their structures, which are nh/fastpath/layout.py's too.
 *
 * Addresses and ports are in network byte order, all else is native.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define STREAMS		4

/* Bits of `rtp` of a flow. */
#define COUNT_STREAMS	1		/* keep stream statistics */
#define LEAVE_RTCP	2		/* leave RTCP, and what is too short to tell, to the socket */

struct flow_key {
	__be32 address[4];		/* IPv4 as ::ffff:a.b.c.d, here and below */
	__be16 port;
	__be16 target_port;		/* 0; of a marker: it is at the address of the target, this is its port */
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
	__u32 counter_index;		/* in `counters` */
	__u32 mtu_bytes;		/* longest IP packet taken; 0: a marker, which says by which flow packets come that leave */
	__u32 clock_hz;			/* of payload_type; 0: no jitter */
	__u8 family;			/* 4 or 6 */
	__u8 tos;
	__u8 rtp;			/* see above; 0: the packets are not RTP */
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

struct flow_counters {
	__u64 packets;
	__u64 bytes;			/* of UDP payload */
	__u64 last_seen_ns;		/* at index 0: CLOCK_BOOTTIME from which on nothing is forwarded; 0: never */
	__u32 next_stream;
	__u32 too_big;			/* at index 0: ICMP messages "packet too big" to this host; else 0 */
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
	__type(value, struct flow_counters);
} counters SEC(".maps");
