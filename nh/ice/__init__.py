"""ICE-lite: answers the connectivity checks of peers that use ICE (RFC 8445, RFC 8489).

    stun        messages of STUN, from bytes and to bytes
    credentials user fragments and passwords
    candidates  the priorities of what the relay announces
    agent       the lite agent: which sources have passed a check, and which one the peer has nominated

A lite agent sends no checks and is always controlled; whether it may send to a peer (consent, RFC 7675) is
what the peer's checks say. Bytes in, bytes out: no I/O, no clock.
"""
