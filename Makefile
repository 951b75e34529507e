# make run       install what running needs and run the relay
# make demo      20 calls with media through a relay of its own, then a report
# make test      install the rest and pass the fast tests
# make test-all  every test that .ci/run passes
# make check     lint, types and import rules
# make soak      calls come and go while faults strike, 10 minutes; ARGS="--minutes 480" for a night
# make survive   what faults cost 200 calls; wants a host to itself
# make bench     the user-space cost per packet beside its floor
# make plot      install what --plot of tools.rtpload and benchmarks needs (matplotlib)
# make bpf       compile the program of the kernel path (Debian: clang llvm libbpf-dev)
# make node      install the clients of ng for Node.js that tests run (Debian: nodejs npm)
# make man       man pages of all commands, in build/man
# make deb       the Debian package, in build/deb (Debian: debhelper python3-venv)
# make docs      the documentation as a site, in build/site; a broken link is an error
# make clean     remove .venv and all caches

# The Python of .venv: the first python3 on the path, unless that is old, or was compiled (by pyenv, say) without
# --enable-optimizations, and the distribution has one that will do: nh takes 0.85 times the CPU with Debian's.
# PYTHON= chooses another one.
IS_FAST   := import sys, sysconfig; args = sysconfig.get_config_var("CONFIG_ARGS") or ""; \
             sys.exit(sys.version_info < (3, 11) or not (sys.base_prefix == "/usr" or "--enable-optimizations" in args))
IS_USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
SYSTEM    := /usr/bin/python3
PYTHON    ?= $(shell { ! python3 -c '$(IS_FAST)' && $(SYSTEM) -c '$(IS_USABLE)'; } 2>/dev/null && echo $(SYSTEM) || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin

# What is installed in the one environment, each on top of the one before: to run nh, to develop it; to draw,
# and to build the documentation.
RUN  := $(VENV)/.installed-run
DEV  := $(VENV)/.installed-dev
PLOT := $(VENV)/.installed-plot
DOCS := $(VENV)/.installed-docs

# What npm installs, for tests only; tests/ng/node has the list.
NODE := .node

.DEFAULT_GOAL := help
.PHONY: help run demo test test-all check soak survive bench plot man deb docs node bpf bpf-object bytecode clean

help:
	@sed -n 's/^# //p' Makefile | sed '/^make/!d'

# $(call step,WHAT,COMMAND) says what is being done, and then how long it took. A comma in WHAT or COMMAND is
# $(COMMA).
COMMA := ,
define step
@printf '%s ... ' '$(1)'; begun=$$(date +%s); $(2) && echo "done, $$(($$(date +%s) - begun)) s"
endef

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("nh needs Python 3.11 or newer: set PYTHON=")'
	$(call step,Creating the Python environment $(VENV),$(PYTHON) -m venv $(VENV))

$(RUN): pyproject.toml | $(VENV)/bin/python
	$(call step,Installing nh and what it needs to run,$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[http$(COMMA)srtp$(COMMA)valkey]')
	@touch $@

$(DEV): $(RUN)
	$(call step,Updating pip,$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1')
	$(call step,Installing what tests and checks need,$(BIN)/pip install --quiet --group dev)
	@touch $@

$(DOCS): $(DEV)
	$(call step,Installing Sphinx,$(BIN)/pip install --quiet --group docs)
	@touch $@

$(PLOT): $(DEV)
	$(call step,Installing matplotlib,$(BIN)/pip install --quiet --group plot)
	@touch $@

# Where PYTHONDONTWRITEBYTECODE is set, as in many containers, Python writes no bytecode, and each process of nh
# would compile 300 modules at its start.
bytecode: $(RUN)
	@$(BIN)/python -m compileall -q nh tools

run: bytecode
	@echo 'Settings: make run ARGS="--shards 2", all of them: $(BIN)/nh run --help.'
	$(BIN)/nh run $(ARGS)

demo: bytecode
	$(BIN)/python -m tools.demo $(ARGS)

# Tests that start processes wait more than they compute: with four workers on two CPUs, 161 of them took 40 s, not 70.
# pytest's own bytecode of the tests is kept, whatever PYTHONDONTWRITEBYTECODE says: with it a worker needs 9 s of a
# CPU to collect them, not 17. No more than 48 workers: each may run a relay, and there are ports for 57 of them at once
# (tools.harness.ports).
WORKERS := 48
test: $(DEV) bytecode
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $$(( 2 * $$(nproc) < $(WORKERS) ? 2 * $$(nproc) : $(WORKERS) )) -m 'not survive and not full' $(ARGS)

test-all: $(DEV) bytecode
	$(BIN)/pytest -n auto --maxprocesses $(WORKERS) -m 'not survive' $(ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: bytecode
	$(BIN)/python -m tools.soak $(ARGS)

survive: $(DEV) bytecode
	$(BIN)/pytest -m survive tests/survival/measured $(ARGS)

bench: bytecode
	$(BIN)/python -m benchmarks.userspace_floor $(ARGS)

plot: $(PLOT)

$(NODE)/.installed: tests/ng/node/package.json tests/ng/node/package-lock.json
	@mkdir -p $(NODE) && cp $^ $(NODE)
	$(call step,Installing the clients of ng for Node.js,npm ci --prefix $(NODE) --ignore-scripts --no-audit --no-fund --silent)
	@touch $@

node: $(NODE)/.installed

# The object is checked in. It keeps its types (BTF), but neither debug information nor the paths of who built it.
BPF_SOURCE := nh/fastpath/relay.bpf.c
BPF_OBJECT ?= nh/fastpath/relay.bpf.o
BPF_FLAGS  := --target=bpfel -mcpu=v3 -O2 -g -fdebug-compilation-dir=. -Wall -Wextra -Werror

# The loader reads relay.bpf.json, which is extracted from the object.
bpf: bpf-object $(DEV)
	$(BIN)/python -m tools.bpf_program $(BPF_OBJECT)

bpf-object:
	clang $(BPF_FLAGS) -idirafter /usr/include/$(shell uname -m)-linux-gnu -c $(BPF_SOURCE) -o $(BPF_OBJECT)
	llvm-objcopy --strip-debug --discard-all --remove-section=.BTF.ext --remove-section=.rel.BTF.ext $(BPF_OBJECT)

man: $(RUN)
	$(BIN)/python -m tools.man_pages build/man

deb: $(RUN)
	$(BIN)/python -m tools.packaging.deb build/deb

docs: $(DOCS)
	$(BIN)/sphinx-build -q -W --keep-going -d build/site-doctrees -c tools/site . build/site

clean:
	rm -rf $(VENV) $(NODE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
