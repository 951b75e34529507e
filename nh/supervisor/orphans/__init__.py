"""Shards that an earlier supervisor left behind: they relay on until their calls are taken from them."""
