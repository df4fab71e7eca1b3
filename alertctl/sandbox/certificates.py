"""The sandbox's certificate authority and its certificate for loopback, both for one run."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

Flavour = Literal["good", "expired", "wrong_host"]


class Certificates:
    """`context` is for servers; `ca_file` is the PEM file of the authority. Needs the package `trustme`.

    With `flavour` "expired" or "wrong_host" the certificate is one that clients should refuse.
    """

    def __init__(self, flavour: Flavour = "good") -> None:
        if flavour not in get_args(Flavour):
            raise ValueError(f"tls is True, False, 'expired' or 'wrong_host', not {flavour!r}")
        import trustme

        authority = trustme.CA()
        names = ("elsewhere.example",) if flavour == "wrong_host" else ("127.0.0.1", "::1", "localhost")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        issued = authority.issue_cert(*names, not_after=yesterday if flavour == "expired" else None)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.context)
        self._folder = tempfile.TemporaryDirectory(prefix="alertctl-sandbox-")
        self.ca_file = str(Path(self._folder.name, "ca.pem"))
        authority.cert_pem.write_to_path(self.ca_file)

    def close(self) -> None:
        self._folder.cleanup()
