"""The path in the kernel: the program that relays settled flows, its loader, and how its tables are laid out.

Contract: says what a kernel can do, loads the program and its maps, packs and unpacks what they hold. Must
not know calls (beyond what an endpoint is), shards, the supervisor or any wire: which flow goes in, and when,
is theirs to say.
"""
