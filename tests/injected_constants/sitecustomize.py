"""Constants of nh in processes that a test starts, as $TEST_CONSTANTS says; Python imports this first.

For times whose end a test does not want to see: on a busy host they would be over before the test is.
See tests/constants.py.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_WANTED: dict[str, dict[str, float]] = {}
for _each in os.environ.get("TEST_CONSTANTS", "").split():
    _place, _, _value = _each.partition("=")
    _module, _, _name = _place.partition(":")
    _WANTED.setdefault(_module, {})[_name] = float(_value)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that have such constants, and sets them once a module is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        wanted = _WANTED.get(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if wanted else None
        if wanted is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_set(module: ModuleType) -> None:
            load(module)
            for name, value in wanted.items():
                getattr(module, name)  # one that is not there is an error of the test
                setattr(module, name, value)

        spec.loader.exec_module = load_and_set  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())
