"""The HTTP client and the trusted certificates that all checks of one run share, the same as messages are sent with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from alertctl.channels.http_errors import no_reply_error
from alertctl.deadline import Deadline
from alertctl.doctor.runner import CheckRun
from alertctl.errors import ConfigError, DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.http.tls import tls_context


def ask(
    check_run: CheckRun, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: Deadline
) -> Response:
    """Send one request. Raises DeliveryError when no reply came back."""
    try:
        return check_run.once(_http_client).request(method, url, headers, body, timeout=deadline.remaining())
    except HttpError as error:
        raise no_reply_error(error) from None


def certificates(check_run: CheckRun) -> ssl.SSLContext:
    """The TLS context of every connection. Raises DeliveryError for an unusable ALERTCTL_CA_BUNDLE."""
    try:
        return tls_context(check_run.settings.alertctl.ca_bundle)
    except ConfigError as error:
        raise DeliveryError(Reason.CONFIG, "bad_ca_bundle", detail=str(error)) from None


def _http_client(check_run: CheckRun) -> HttpClient:
    ours = check_run.settings.alertctl
    client = HttpClient(ours.deadline, ours.ca_bundle, pool_size=4)
    check_run.closing(client.close)
    return client
