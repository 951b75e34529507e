"""A standby: nh with everything loaded and the calls of other relays in memory, before it serves.

follow has a thread that follows the groups, and phase is what `nh run` does until one of them is free. Then
nh.supervisor.supervisor goes on, as after any start, with calls that are there already. ownership looks
whether they are still this relay's, and hands them over to another standby. hooks runs programs of operators.
"""
