"""A shard: one process's calls, sockets and loop. It knows no wire protocol but the internal link."""
