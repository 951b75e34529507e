"""The kernel path: the program that relays the media of latched legs, its loader, the layout of its maps.

Contract: probes what the kernel can do, loads the program and its maps, packs and unpacks their values,
follows interfaces and routes. It knows endpoints and RTP streams; it must not know calls, shards, the
supervisor or any wire protocol. A shard decides which flow is in the kernel, and when.
"""
