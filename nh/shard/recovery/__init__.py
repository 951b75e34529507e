"""Calls that outlive a process: checkpoints to the supervisor, restoring them, and the shard without a
supervisor.
"""
