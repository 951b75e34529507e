"""Records of calls that have ended: the latest in memory, and all to a file or a socket, in threads."""
