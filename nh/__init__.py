"""nh: an RTP media relay (NAT helper) for SIP proxies."""

__version__ = "0.1.0"
