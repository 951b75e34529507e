"""What the supervisor needs of the host: child processes, locked directories, ports, descriptors, CPUs,
signals, systemd.
"""
