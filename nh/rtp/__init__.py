"""The formats of RTP and RTCP packets (RFC 3550), for all who read or write them. Pure functions on bytes."""
