"""Codecs: bytes to the vocabulary of nh.commands and back. They do no I/O and read no clock."""
