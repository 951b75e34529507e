"""Subjects: what log lines say of a request, valid or not."""

from typing import NamedTuple

from nh.printable import short_id


class Subject(NamedTuple):
    """Command and call of a request, as far as they are known; its text is escaped and of limited length."""

    command: bytes = b""
    call_id: bytes = b""

    def __str__(self) -> str:
        subject = f"the command '{short_id(self.command)}'" if self.command else "a request"
        return f"{subject} for call '{short_id(self.call_id)}'" if self.call_id else subject
