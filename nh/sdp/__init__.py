"""SDP (RFC 8866), parsed and rewritten for a relay.

`parse` reads what a relay needs; `rewrite` changes what a relay must change and keeps all other bytes. No
I/O, no clocks; of nh it imports values of nh.calls (media, payload types) and nh.errors only.
"""
