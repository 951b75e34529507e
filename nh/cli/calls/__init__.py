"""`nh calls` and `nh close`: the commands, and how calls are drawn."""
