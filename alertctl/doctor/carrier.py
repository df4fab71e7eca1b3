"""The HTTP transport that all checks of one run share: the very one that messages travel with."""

from __future__ import annotations

import ssl

from alertctl.channels.transport import Transport, tls_context
from alertctl.doctor.examination import Examination
from alertctl.errors import ConfigError, DeliveryError, Reason


def transport(examination: Examination) -> Transport:
    """Raises DeliveryError for an unusable ALERTCTL_CA_BUNDLE."""
    return examination.once(_built)


def certificates(examination: Examination) -> ssl.SSLContext:
    """The TLS context of every connection. Raises DeliveryError for an unusable ALERTCTL_CA_BUNDLE."""
    try:
        return tls_context(examination.settings.alertctl.ca_bundle)
    except ConfigError as error:
        raise DeliveryError(Reason.CONFIG, "bad_ca_bundle", detail=str(error)) from None


def _built(examination: Examination) -> Transport:
    ours = examination.settings.alertctl
    built = Transport(ours.deadline, ours.ca_bundle, pool=4)
    if ours.ca_bundle:
        # Now: inside a request its error would look like one of the network.
        certificates(examination)
    examination.closing(built.close)
    return built
