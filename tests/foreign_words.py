"""Words of Python and of the libraries that nh uses, in messages that are meant to be nh's."""

import re

_WORDS = re.compile(
    r"\$\.|\$`|Expected |Errno|bytearray|Traceback|<class|object at 0x|msgspec|pydantic|datetime|"
    r"typer|codec can't|invalid literal|does not appear to be|Invalid value for '--|at line \d+|None\b"
)
_QUOTED = re.compile(r"(?<!\w)'[^']*'")
_BYTES = re.compile(r"\bb'")


def foreign_words(message: str, said: str) -> list[str]:
    """The words of a message that are neither nh's nor of what it is about.

    Args:
        message: what nh says.
        said: what nh was given. The message may quote it, and property tests draw such words, too. Bytes as
            Python shows them are found only if there is no quote in it.
    """
    words = [word for word in _WORDS.findall(message) if word.lower() not in said.lower()]
    return words if "'" in said else words + _BYTES.findall(_QUOTED.sub("''", message))
