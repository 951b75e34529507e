"""What all commands have in common."""

from typing import Generic, TypeVar

import msgspec

from nh.results import (
    Result,
)

MAX_ID_BYTES = 16_384
"""Longest call-id, idfrom or idto, in bytes."""


ResultT_co = TypeVar("ResultT_co", bound=Result, covariant=True)


class BaseCommand(msgspec.Struct, Generic[ResultT_co], frozen=True):
    """Any command; its type parameter is the type of its result, where that is not a Failure."""
