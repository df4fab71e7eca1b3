"""What to do about a failure, in one sentence, by its code."""

from __future__ import annotations

from alertctl.channels.slack_errors import TABLE
from alertctl.doctor.found import Outcome, outcome_of
from alertctl.errors import DeliveryError

_SLACK_APP = "the Slack app's page (api.slack.com/apps, OAuth & Permissions)"
_NEW_TOKEN = f"Install the app to the workspace again on {_SLACK_APP}, and put its new token into SLACK_BOT_TOKEN."
_COPY_TOKEN = f"Copy the Bot User OAuth Token (xoxb-…) from {_SLACK_APP} into SLACK_BOT_TOKEN."

BY_CODE = {
    # ours
    "malformed_credential": "Copy the secret again, without blanks or line ends inside.",
    "bad_ca_bundle": "Name a readable file of certificates (PEM) in ALERTCTL_CA_BUNDLE, or leave it empty.",
    # Slack
    "not_authed": _COPY_TOKEN,
    "invalid_auth": _COPY_TOKEN,
    "not_allowed_token_type": _COPY_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": "Put a fresh token into SLACK_BOT_TOKEN, or switch token rotation off in the Slack app.",
    "account_inactive": _NEW_TOKEN,
    "missing_scope": f"Add the bot scope chat:write on {_SLACK_APP}, install the app again, and use its new token.",
    "access_denied": "Ask the workspace's owner to allow the app (and this machine's IP address).",
    "accesslimited": "Ask the workspace's owner to allow this machine's IP address.",
    "org_login_required": "Wait until Slack has moved the workspace to the organisation, then look again.",
    # email
    "not_configured": "Set SENDGRID_API_KEY, or SMTP_HOST and its like.",
    "unauthorized": "Create an API key with Mail Send at app.sendgrid.com (Settings, API Keys) for SENDGRID_API_KEY.",
    "530": "Set SMTP_USERNAME and SMTP_PASSWORD, and SMTP_SECURITY=starttls: the server wants both.",
    "534": "Create an app password at the mail provider and put it into SMTP_PASSWORD.",
    "535": "Put the right user name and password into SMTP_USERNAME and SMTP_PASSWORD (often an app password).",
    "538": "Set SMTP_SECURITY=starttls: the server takes a password only over TLS.",
    "auth_in_clear": "Set SMTP_SECURITY to starttls or tls: a password is never sent in clear.",
    "auth_unavailable": "Leave SMTP_USERNAME empty if that server needs no login, else use its submission port (587).",
    "starttls_unavailable": "Use the port that offers TLS (587, or 465 with SMTP_SECURITY=tls).",
}

_NOT_THE_API = "Correct {setting} and HTTPS_PROXY: what answers there is something else."
_BY_NETWORK_CODE = {
    "dns_failure": "Correct the host's name in {setting}, or this machine's DNS.",
    "dns_timeout": "Repair this machine's DNS: it doesn't answer.",
    "tls_untrusted": "Name a file with the issuer's certificate (PEM) in ALERTCTL_CA_BUNDLE, if {setting} is right.",
    "tls_wrong_host": "Put the host's name that is in the certificate into {setting}.",
    "tls_expired": "Renew the server's certificate, or set this machine's clock right.",
    "tls_not_spoken": "Correct {setting} or its port: what listens there doesn't speak TLS.",
    "proxy_auth": "Put the proxy's user name and password into HTTPS_PROXY.",
    "proxy_failed": "Correct HTTPS_PROXY, or name the host in NO_PROXY.",
    "no_reply": _NOT_THE_API,
    "bad_reply": _NOT_THE_API,
    "http_301": _NOT_THE_API,
    "http_308": _NOT_THE_API,
    "http_404": _NOT_THE_API,
    "bad_url": "Correct the address in {setting}.",
    "bad_proxy_url": "Correct the address in HTTPS_PROXY.",
}
_BY_HTTP = "Check that {setting} is right and that this machine may reach it (firewall, HTTPS_PROXY)."
_BY_SMTP = "Check that SMTP_HOST and SMTP_PORT are right and that this machine may reach them (firewall)."
_POSTMASTER = "Ask whoever runs the mail server why it refuses this machine."
_LOOK_UP = "See what {code} means at docs.slack.dev/reference/methods/chat.postMessage, and repair that in the app."
_LATER = "Look again in a few minutes: the provider is busy or has an outage."


def fix_for(error: DeliveryError, setting: str) -> str:
    """One sentence. `setting` is the variable that says where the provider is."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    if error.code in _BY_NETWORK_CODE:
        return _BY_NETWORK_CODE[error.code].format(setting=setting)
    if outcome_of(error) is Outcome.UNKNOWN:
        return _LATER
    if error.code.isdigit():
        return _POSTMASTER
    if error.code in TABLE:
        return _LOOK_UP.format(code=error.code)
    return (_BY_SMTP if setting == "SMTP_HOST" else _BY_HTTP).format(setting=setting)


def fix_for_pause(code: str) -> str:
    """What to do about a provider that is left alone because its settings were wrong."""
    repair = BY_CODE.get(
        code, "Run alertctl doctor where the daemon runs, with its settings, and repair what it names."
    )
    return f"{repair} Then: alertctl log retry --status failed --error {code}"
