"""The trusted certificates: those of ALERTCTL_CA_BUNDLE, else of SSL_CERT_FILE, else the system's.

`ssl` is imported when a connection uses TLS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alertctl.errors import ConfigError

if TYPE_CHECKING:
    import ssl


class TrustedCertificates(NamedTuple):
    """A PEM file and a folder of hashed certificates, None where there is none."""

    file: str | None
    folder: str | None


def trusted_certificates(ca_bundle: str | Path | None = None) -> TrustedCertificates:
    """Return the certificates for libcurl, whose own OpenSSL does not know this system's paths.

    Raises ConfigError for an unusable bundle.
    """
    import ssl

    if ca_bundle:
        tls_context(ca_bundle)
        return TrustedCertificates(str(ca_bundle), None)
    paths = ssl.get_default_verify_paths()
    return TrustedCertificates(paths.cafile, paths.capath)


def tls_context(ca_bundle: str | Path | None = None) -> ssl.SSLContext:
    """Return a verifying context that trusts `ca_bundle`, else the system's certificates.

    Raises ConfigError for an unusable bundle.
    """
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ValueError) as exc:
        raise ConfigError([f"ALERTCTL_CA_BUNDLE: {ca_bundle} cannot be read as PEM certificates ({exc})"]) from exc
