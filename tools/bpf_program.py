"""`python -m tools.bpf_program NAME.o`: extracts the program from a BPF object into NAME.json.

Part of `make bpf`; nh.fastpath.program says what is extracted, and why.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import io
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from nh.fastpath.program import BpfProgram, encode_program

_SECTION: Final = "tc"
_R_BPF_64_64: Final = 1


def read_object(elf: bytes) -> BpfProgram:
    """The one program of an object's `tc` section.

    Raises:
        ValueError: a section, the function or a relocation is not as expected; the message says which.
        elftools.common.exceptions.ELFError: it is no ELF file.
    """
    file = ELFFile(io.BytesIO(elf))
    code = file.get_section_by_name(_SECTION)
    terms = file.get_section_by_name("license")
    symbols = file.get_section_by_name(".symtab")
    if code is None or terms is None or not isinstance(symbols, SymbolTableSection):
        raise ValueError(f"not a BPF object: it needs the sections {_SECTION}, license and .symtab")
    names = [
        symbol.name
        for symbol in symbols.iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC" and file.get_section(symbol["st_shndx"]).name == _SECTION
    ]
    if len(names) != 1:
        raise ValueError(f"the section {_SECTION} has {len(names)} functions, not one")
    relocations = file.get_section_by_name(f".rel{_SECTION}")
    uses = _map_uses(relocations, symbols) if isinstance(relocations, RelocationSection) else ()
    return BpfProgram(names[0], terms.data().rstrip(b"\0").decode(), uses, code.data())


def _map_uses(relocations: RelocationSection, symbols: SymbolTableSection) -> tuple[tuple[int, str], ...]:
    uses = []
    for relocation in relocations.iter_relocations():
        if relocation["r_info_type"] != _R_BPF_64_64:
            raise ValueError(f"relocation type {relocation['r_info_type']} at {relocation['r_offset']:#x}")
        uses.append((relocation["r_offset"], symbols.get_symbol(relocation["r_info_sym"]).name))
    return tuple(uses)


def main() -> None:
    """Extract the program of one object."""
    parser = argparse.ArgumentParser(prog="python -m tools.bpf_program", description=__doc__)
    parser.add_argument("object", type=Path, metavar="NAME.o", help="what clang has made")
    path = parser.parse_args().object
    try:
        path.with_suffix(".json").write_bytes(encode_program(read_object(path.read_bytes())))
    except OSError as exc:
        parser.error(f"{exc.filename}: {exc.strerror}")
    except (ELFError, ValueError) as exc:
        parser.error(f"{path}: {exc}")


if __name__ == "__main__":
    main()
