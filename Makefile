# make run    set everything up and run the relay
# make test   set everything up and pass the tests
# make soak     calls come and go while faults strike, 10 minutes; ARGS="--minutes 480" for a night
# make demo   20 calls with media through a relay of its own, then a report
# make survive  what faults cost 200 calls; wants a host to itself
# make check  lint, types and import rules
# make bench  the user-space cost per packet beside its floor
# make bpf    compile the program of the path in the kernel (Debian: clang llvm libbpf-dev)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test survive soak demo check bench bpf clean

help:
	@sed -n 's/^# //p' Makefile

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("nh needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

run: $(STAMP)
	$(BIN)/nh run $(ARGS)

test: $(STAMP)
	$(BIN)/pytest -n auto $(ARGS)

survive: $(STAMP)
	$(BIN)/pytest -m survive tests/survive $(ARGS)

soak: $(STAMP)
	$(BIN)/python -m tools.soak $(ARGS)

demo: $(STAMP)
	$(BIN)/python -m tools.demo $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks.userspace_floor $(ARGS)

# The object is checked in. It keeps its types (BTF), but neither debug information nor the paths of who built it.
BPF_SOURCE := nh/fastpath/relay.bpf.c
BPF_OBJECT ?= nh/fastpath/relay.bpf.o
BPF_FLAGS  := --target=bpfel -mcpu=v3 -O2 -g -fdebug-compilation-dir=. -Wall -Wextra -Werror

bpf:
	clang $(BPF_FLAGS) -idirafter /usr/include/$(shell uname -m)-linux-gnu -c $(BPF_SOURCE) -o $(BPF_OBJECT)
	llvm-objcopy --strip-debug --discard-all --remove-section=.BTF.ext --remove-section=.rel.BTF.ext $(BPF_OBJECT)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
