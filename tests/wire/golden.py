"""Golden bytes: what Perl's Storable and Net::SIP's client and server really send."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_FILE = Path(__file__).parent / "vectors" / "storable-nfreeze.jsonl"


class Vector(NamedTuple):
    """One recorded image: its kind (request, value, reply, hostile), its bytes, and what they mean."""

    name: str
    kind: str
    image: bytes
    frame: bytes | None
    value: Any


def _read() -> Iterable[Vector]:
    with _FILE.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            frame = bytes.fromhex(entry["frame_hex"]) if "frame_hex" in entry else None
            image = frame[4:] if frame is not None else bytes.fromhex(entry["frozen_hex"])
            yield Vector(entry["name"], entry["kind"], image, frame, entry.get("value"))


VECTORS = tuple(_read())


def vectors(*kinds: str) -> list[Any]:
    """All vectors of these kinds, as parameters of a test."""
    return [pytest.param(vector, id=vector.name) for vector in VECTORS if vector.kind in kinds]


def vector(name: str) -> Vector:
    """The vector of that name."""
    return next(vector for vector in VECTORS if vector.name == name)
