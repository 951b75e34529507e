"""The media path: sockets, readers, egress, pacing, and the path in the kernel."""
