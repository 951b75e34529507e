"""The worker processes: they send and receive the media."""
