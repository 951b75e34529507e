"""How nh's own processes speak to each other: the link between supervisor and shard, the handover socket,
peer credentials, inherited descriptors.
"""
