"""The store: calls outlive all processes of nh and a reboot of the host.

store is what the supervisor uses; open finds the engine that the setting `state` names. Changes go into the
journal, in memory, before a client gets its answer. A thread then has the writer bring them to the engine:
SQLite, or a Valkey server. engine is the protocol that any other one implements. Where another relay can get
the calls, lease says whether they are still this one's, and deadline tells shards and kernel until when.
"""
