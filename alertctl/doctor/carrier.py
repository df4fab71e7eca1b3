"""The HTTP client and the trusted certificates that all checks of one run share, the same as messages are sent with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from alertctl.channels.http_errors import no_reply_error
from alertctl.deadline import Deadline
from alertctl.doctor.runner import Examination
from alertctl.errors import ConfigError, DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.http.tls import tls_context


def ask(
    examination: Examination, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: Deadline
) -> Response:
    """Send one request. Raises DeliveryError when no reply came back."""
    try:
        return examination.once(_http_client).request(method, url, headers, body, timeout=deadline.left())
    except HttpError as error:
        raise no_reply_error(error) from None


def certificates(examination: Examination) -> ssl.SSLContext:
    """The TLS context of every connection. Raises DeliveryError for an unusable ALERTCTL_CA_BUNDLE."""
    try:
        return tls_context(examination.settings.alertctl.ca_bundle)
    except ConfigError as error:
        raise DeliveryError(Reason.CONFIG, "bad_ca_bundle", detail=str(error)) from None


def _http_client(examination: Examination) -> HttpClient:
    ours = examination.settings.alertctl
    client = HttpClient(ours.deadline, ours.ca_bundle, pool_size=4)
    examination.closing(client.close)
    return client
