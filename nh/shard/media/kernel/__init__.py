"""The path in the kernel, as a shard uses it: which directions go there, their flows, and their routes."""
