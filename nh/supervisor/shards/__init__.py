"""The shard processes: how they are started, watched, restarted and backed up, and which call goes to
which.
"""
