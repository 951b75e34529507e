"""The relay inside the kernel: its program, the interfaces that it is on, and the routes of its flows."""
