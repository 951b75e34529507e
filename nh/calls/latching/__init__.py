"""Latching (RFC 7362): whose packets a leg admits, what they claim, and when it latches onto a source."""
