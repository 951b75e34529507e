"""Statistics of RTP streams (RFC 3550): loss, reordering, duplicates, jitter, estimated MOS."""
