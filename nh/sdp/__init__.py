"""SDP read and rewritten for a relay: bytes in, typed views, bytes out.

`parse` reads what a relay needs to know; `rewrite` changes what a relay must change and hands every
other byte through. No I/O, no clocks; of nh it knows nh.calls.media and nh.errors only.
"""
