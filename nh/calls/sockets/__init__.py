"""The relay's sockets as the domain sees them: free ports, runs of sockets, the group of an SDP."""
