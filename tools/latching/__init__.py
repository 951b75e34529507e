"""What relays do with attacks and accidents at the source of media: nh beside rtpengine and nathelper.pl.

`python -m tools.latching` runs every scenario against every relay that is installed and prints the table of
docs/explanation/security.md.
"""
