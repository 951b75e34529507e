"""Servers of Valkey's protocol over TLS: a certificate for them, and their settings."""

import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that it signs itself, and its key."""
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
            *("-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=store.example"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def expire(certificate: Path, key: Path) -> None:
    """Let a certificate that signs itself have expired yesterday."""
    valid = x509.load_pem_x509_certificate(certificate.read_bytes())
    signer = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    end = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = x509.CertificateBuilder(
        valid.issuer,
        valid.subject,
        signer.public_key(),
        valid.serial_number,
        end - datetime.timedelta(days=1),
        end,
        list(valid.extensions),
    )
    signed = expired.sign(signer, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def tls_options(certificate: Path, key: Path, port: int, *, auth_clients: str) -> dict[str, object]:
    """Of a server that speaks TLS at `port`; auth_clients: `yes`: clients need a certificate."""
    return {
        "tls-cert-file": certificate,
        "tls-key-file": key,
        "tls-ca-cert-file": certificate,
        "tls-auth-clients": auth_clients,
        "tls-port": port,
    }
