"""The coordinating process: plans calls, sets them up over a control protocol, and drives the workers."""
