"""What is measured of RTP streams (RFC 3550): loss, order, duplicates, jitter, estimated MOS."""
