"""The results of rtpproxy's commands."""

import msgspec


class RelayPort(msgspec.Struct, frozen=True, tag="relay_port"):
    """Where the relay receives a medium.

    Attributes:
        port: of RTP; RTCP is at the next one.
        address: the IP address to announce.
    """

    port: int
    address: str


class SessionCounters(msgspec.Struct, frozen=True, tag="session_counters"):
    """The RTP of one medium, in the reply to rtpproxy's Q.

    Attributes:
        ttl_s: whole seconds until the call ends if no packet comes.
        from_packets, to_packets: received from the end that the command names first, and from the other one.
        relayed, dropped: of both ends.
        expected, unique, duplicates, lost: by the sequence numbers of the end that is named first.
    """

    ttl_s: int = 0
    from_packets: int = 0
    to_packets: int = 0
    relayed: int = 0
    dropped: int = 0
    expected: int = 0
    unique: int = 0
    duplicates: int = 0
    lost: int = 0
