"""The path in the kernel, as the supervisor has it: one program for all shards, on the interfaces that carry media.

The supervisor loads the program and hangs it in; shards inherit the maps and say what is relayed (nh.shard.kernel_path).
What is hung in as a link ends with the last process that holds it. Nothing here knows calls.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from nh.config import AttachMode, KernelMode, Settings
from nh.errors import KernelPathUnavailable
from nh.fastpath.attach import Attachments
from nh.fastpath.bpf import link_create
from nh.fastpath.interfaces import Interface, InterfaceWatch
from nh.fastpath.loader import load
from nh.fastpath.probe import Answer, probe
from nh.loop import Loop
from nh.wire.link import KernelMaps

logger = logging.getLogger(__name__)
