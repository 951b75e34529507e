"""`nh stats`: the command, the live view, and how counters become rates."""
