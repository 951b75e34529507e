"""Calls on disk: the journal in memory, the writer's thread, the SQLite file."""
