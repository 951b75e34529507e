"""Reads the types (BTF) that the compiler left in a BPF object: structures, and maps' definitions.

Source: Documentation/bpf/btf.rst of Linux. Knows the kinds of type that relay.bpf.c has.
"""

import io
import struct
from importlib.resources import files
from typing import Final, NamedTuple

from elftools.elf.elffile import ELFFile

OBJECT: Final = "relay.bpf.o"
"""The compiler's object, beside the program that is extracted from it."""

INT, PTR, ARRAY, STRUCT, UNION, FORWARD, TYPEDEF = 1, 2, 3, 4, 5, 7, 8
FUNC, FUNC_PROTO, VAR, DATASEC = 12, 13, 14, 15


def relay_object() -> bytes:
    """The object as it is checked in."""
    return files("nh.fastpath").joinpath(OBJECT).read_bytes()


class Member(NamedTuple):
    """A member of a structure: its offset and size in bytes."""

    name: str
    offset: int
    size: int


class _Type(NamedTuple):
    name: str
    kind: int
    size_or_type: int
    details: tuple[tuple[int, ...], ...]


class Btf:
    """All types of an object."""

    def __init__(self, elf: bytes) -> None:
        section = ELFFile(io.BytesIO(elf)).get_section_by_name(".BTF")
        assert section is not None, "the object has no types: it was not compiled with -g"
        data = section.data()
        magic, _, _, header, types_at, types_size, strings_at, _ = struct.unpack_from("<HBBIIIII", data)
        assert magic == 0xEB9F
        self._strings = data[header + strings_at :]
        self._types = [_Type("void", 0, 0, ())]
        at, end = header + types_at, header + types_at + types_size
        while at < end:
            at = self._read_type(data, at)

    def members(self, name: str) -> list[Member]:
        """The members of a structure, in order."""
        structure = next(t for t in self._types if t.kind == STRUCT and t.name == name)
        return self._members(structure)

    def size(self, name: str) -> int:
        """The size of a structure, bytes."""
        return next(t.size_or_type for t in self._types if t.kind == STRUCT and t.name == name)

    def map_definition(self, name: str) -> dict[str, int | str]:
        """What `struct { __uint(...); __type(...); } name SEC(".maps")` says: numbers, and names of types."""
        variable = next(t for t in self._types if t.kind == VAR and t.name == name)
        definition: dict[str, int | str] = {}
        for name_at, type_id, _ in self._types[variable.size_or_type].details:
            pointed_at = self._types[self._types[type_id].size_or_type]
            is_number = pointed_at.kind == ARRAY
            definition[self._string(name_at)] = pointed_at.details[0][2] if is_number else pointed_at.name
        return definition

    def _members(self, structure: _Type) -> list[Member]:
        return [
            Member(self._string(name_at), bits // 8, self._size(type_id))
            for name_at, type_id, bits in structure.details
        ]

    def _size(self, type_id: int) -> int:
        found = self._types[type_id]
        if found.kind == TYPEDEF:
            return self._size(found.size_or_type)
        if found.kind == ARRAY:
            element, _, count = found.details[0]
            return self._size(element) * count
        assert found.kind in (INT, STRUCT), found
        return found.size_or_type

    def _read_type(self, data: bytes, at: int) -> int:
        name_at, info, size_or_type = struct.unpack_from("<III", data, at)
        kind, count = info >> 24 & 0x1F, int(info & 0xFFFF)
        shapes = {
            INT: ("<I", 1),
            ARRAY: ("<III", 1),
            STRUCT: ("<III", count),
            UNION: ("<III", count),
            FUNC_PROTO: ("<II", count),
            VAR: ("<I", 1),
            DATASEC: ("<III", count),
        }
        assert kind in shapes or kind in (PTR, FORWARD, TYPEDEF, FUNC), f"unknown kind of type {kind}"
        shape, repeated = shapes.get(kind, ("", 0))
        width = struct.calcsize(shape)
        details = tuple(struct.unpack_from(shape, data, at + 12 + n * width) for n in range(repeated))
        self._types.append(_Type(self._string(name_at), kind, size_or_type, details))
        return at + 12 + width * repeated

    def _string(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()
