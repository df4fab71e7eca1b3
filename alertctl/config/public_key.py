"""Read a public key from PEM text. Imports cryptography, which takes 9 MB of memory."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def load_public_key(pem: str) -> PublicKeyTypes:
    """Return the public key of a PEM text, which may be a certificate. Raises ValueError."""
    if "CERTIFICATE" in pem:
        return x509.load_pem_x509_certificate(pem.encode()).public_key()
    return load_pem_public_key(pem.encode())
