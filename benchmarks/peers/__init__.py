"""The relays that are measured; the registry has them by name."""
