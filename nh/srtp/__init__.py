"""SRTP: protects RTP and RTCP, and removes the protection (RFC 3711, RFC 6188, RFC 7714).

    suites      the crypto suites, by their names in SDP (RFC 4568 6.2)
    keys        the master key of one direction
    derivation  the session keys that are derived from it
    window      the index of a packet, and which indexes have been seen
    renumbering streams whose source began again
    state       what a successor needs to go on without a new key
    ciphers     AES-CM with HMAC-SHA1, and AES-GCM, over the primitives of `cryptography`
    refusal     why a packet does not pass
    sender      one direction of one master key: RTP to SRTP
    receiver    the same backwards

Bytes in, bytes out: no I/O, no clock. `suites`, `keys`, `state`, `window`, `renumbering` and
`refusal` load without `cryptography`, which the others need (nh[srtp]).
"""
