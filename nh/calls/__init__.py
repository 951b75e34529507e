"""The domain: calls, transactions, socket groups, sessions and their rules. It does no I/O.

Time comes in as `now` (seconds on the monotonic clock), sockets come in through `MediaPlane`.
"""
