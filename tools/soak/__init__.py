"""A soak test: calls come and go with media both ways while faults strike at random, for as long as wanted.

    soak      the course of it, and its findings
    subjects  what faults strike: a relay, or two hosts
    leaks     what a relay must not take more and more of, nor leave behind
    report    what came of it, as plain values

Run it with `python -m tools.soak` (docs/how-to/test-faults.md). What a fault is, and what it
may cost, is tools.survive's.
"""
