"""The command line: typer commands, and pure rendering of what they read. Imported by nh.__main__ alone."""
