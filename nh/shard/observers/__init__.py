"""Observers of calls (nh.calls.events): statistics, journal, log lines, records, reports."""
