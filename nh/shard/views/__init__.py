"""Views of calls: what `show`, `list` and records say of a call and its RTP streams, as plain values."""
