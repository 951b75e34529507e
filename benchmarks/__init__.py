"""Side-by-side measurements. Nothing here is a test: figures are ratios of one run on one machine."""

import tools  # noqa: F401  from the imports on, Ctrl-C and SIGTERM end what was started
