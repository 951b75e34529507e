"""What the trial can fail with."""


class CannotTry(Exception):
    """It could not be tried; the message says what is missing or went wrong."""
