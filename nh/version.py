"""The version of nh. The build reads it here, by a pattern that wants a plain assignment."""

__version__ = "0.1.0"
