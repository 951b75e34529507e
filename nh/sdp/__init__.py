"""SDP (RFC 8866), parsed and rewritten for a relay.

`parse` reads what a relay needs; `rewrite` changes what a relay must change and keeps all other bytes.
`text_changes`, `attributes` and `origin` change what a client wants changed beside that. No I/O, no clocks;
of nh it imports values of nh.calls, nh.commands and nh.errors only.
"""
