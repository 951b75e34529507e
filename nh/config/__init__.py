"""The settings of nh: their table, their checks, and where their values come from."""

from nh.config.settings import SYSTEM_RUNTIME_PATH, Settings, check_served_addresses, default_runtime_path

__all__ = ["SYSTEM_RUNTIME_PATH", "Settings", "check_served_addresses", "default_runtime_path"]
