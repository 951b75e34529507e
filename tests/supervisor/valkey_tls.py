"""Servers of Valkey's protocol over TLS: a certificate for them, and their settings."""

import subprocess
from pathlib import Path


def make_certificate(directory: Path, *, days: int = 1) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that it signs itself, and its key.

    Args:
        directory: for both.
        days: how long it is valid from now on; -1: it has expired.
    """
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", str(key), "-out", str(certificate), "-days", str(days)),
            *("-subj", "/CN=store.example"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def tls_options(certificate: Path, key: Path, port: int, *, auth_clients: str) -> dict[str, object]:
    """Of a server that speaks TLS at `port`; auth_clients: `yes`: clients need a certificate."""
    return {
        "tls-cert-file": certificate,
        "tls-key-file": key,
        "tls-ca-cert-file": certificate,
        "tls-auth-clients": auth_clients,
        "tls-port": port,
    }
