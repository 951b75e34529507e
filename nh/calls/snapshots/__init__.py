"""Snapshots of calls, a module for each type of the domain: what is in it, how it is taken, checked, rebuilt.

A snapshot has a call as flat lists; their members refer to each other by index. Groups and sessions that are
shared (by forks, by early dialogs) are in their list once, so they are shared again afterwards.

Structs are written as arrays. A new field goes to the end and has a default; then older and newer versions
read each other. Any other change of a struct needs another nh.calls.snapshots.version.VERSION.

Each struct has three methods:

- `take` reads an object of the domain and changes nothing in it;
- `check` raises SnapshotUnreadable where values contradict each other. The types of the fields have the
  ranges of single values, which decoding checks;
- `rebuild` makes the object again from a snapshot that has been checked.
"""
