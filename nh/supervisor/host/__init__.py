"""What the supervisor needs of the host: locked directories, ports, descriptors, CPUs, signals, systemd."""
