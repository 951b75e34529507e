"""Snapshots of calls in four parts: what is in one, taking it, checking it, restoring from it.

Others use nh.calls.snapshots.codec and nh.calls.snapshots.restore.
"""
