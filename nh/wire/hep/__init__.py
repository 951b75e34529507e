"""HEP, the Homer encapsulation protocol, version 3: what Homer and other capture servers take.

The specification is HEP3_rev12 of the SIPCAPTURE project.
"""

from nh.wire.hep.packets import HepPacket, PacketKind, decode_packet, encode_packet
from nh.wire.hep.rtcp import rtcp_to_json

__all__ = ["HepPacket", "PacketKind", "decode_packet", "encode_packet", "rtcp_to_json"]
