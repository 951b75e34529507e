"""The path in the kernel: the program that relays the media of latched legs, its loader, its tables' layout.

Contract: says what a kernel can do, loads the program and its maps, packs and unpacks what they hold. Must
not know calls (beyond what an endpoint is), shards, the supervisor or any wire: which flow goes in, and when,
is theirs to say.
"""
