"""DTLS-SRTP: a handshake at the media socket agrees on the keys of SRTP (RFC 5763, RFC 5764).

    fingerprints   a=fingerprint: what the SDP says of a certificate (RFC 8122)
    problem        why there are no keys
    certificate    the relay's own certificates, as they are saved
    identity       the same, ready for handshakes
    records        datagrams and the records in them (RFC 6347 4.1)
    profiles       the protection profiles of use_srtp, and the keys that the handshake exports
    handshake      one handshake, over pyOpenSSL
    attempts       the handshakes with one end that run, and how many may run
    association    all handshakes with one end at one socket, and what came of them

Bytes in, bytes out, timers asked for: no I/O, no clock but that of OpenSSL's timers. What uses OpenSSL
loads it: `identity`, `handshake`, `attempts` and `association` need pyOpenSSL (nh[srtp]), the others do not.
"""
