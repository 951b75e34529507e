/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Statistics of RTP streams: the algorithm of nh/calls/rtp/stream.py, for packets that no process sees.
 *
 * A direction has up to four streams, told apart by SSRC; a fifth takes the place of the first, and so on. Two CPUs that
 * meet packets of one stream at the same time may miss a count: a flow's packets come by one queue.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "tables.bpf.h"

#define MAX_DROPOUT	3000		/* RFC 3550 A.1 */
#define WINDOW		64		/* packets that `seen` remembers */
#define NOTHING_BAD	0x10000		/* no sequence number */
#define NS_PER_S	1000000000ULL

struct rtp {
	__u8 version_csrcs, marker_type;
	__be16 sequence;
	__be32 timestamp, ssrc;
};

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
		if (ahead > 1 && stream->seen & 1) /* else others may have come before: RtpStream.resume() */
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

static __always_inline int is_rtcp(const struct rtp *rtp) /* RFC 5761 4 */
{
	return rtp->marker_type >= 192 && rtp->marker_type <= 223;
}

/* Counts a packet with this beginning, if it is RTP, for one of the flow's streams. */
static __always_inline void count_rtp(const struct rtp *rtp, const struct flow *flow, struct flow_counters *counted,
				      __u64 now)
{
	struct stream *stream = 0;
	__u8 payload_type;
	__u32 ssrc, next;

	if (rtp->version_csrcs >> 6 != 2 || is_rtcp(rtp))
		return;
	ssrc = bpf_ntohl(rtp->ssrc);
	payload_type = rtp->marker_type & 0x7f;
#pragma unroll
	for (int i = 0; i < STREAMS; i++)
		if (!stream && counted->streams[i].used && counted->streams[i].ssrc == ssrc)
			stream = &counted->streams[i];
	if (!stream) {
		next = counted->next_stream & (STREAMS - 1);
		stream = &counted->streams[next];
		counted->next_stream = (next + 1) & (STREAMS - 1);
		start_stream(stream, ssrc, bpf_ntohs(rtp->sequence), payload_type);
	} else if (!continue_stream(stream, bpf_ntohs(rtp->sequence), payload_type)) {
		return;
	}
	if (flow->clock_hz && payload_type == flow->payload_type)
		measure_jitter(stream, bpf_ntohl(rtp->timestamp), flow->clock_hz, now);
}
