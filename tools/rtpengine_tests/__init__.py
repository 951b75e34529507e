"""rtpengine's own daemon tests against nh, from a checkout of rtpengine: docs/how-to/rtpengine-tests.md.

SDPs are compared loosely: the order of lines within a section does not matter, nor what means the same.
"""
