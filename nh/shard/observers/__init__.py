"""Observers of calls (nh.calls.events): statistics, timeline, log lines, records, reports."""
