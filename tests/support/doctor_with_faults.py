"""Send with every fault in turn and run the doctor, in a process of its own.

python -m tests.support.doctor_with_faults sendgrid|smtp FAULT ...
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, cast

from alertctl.cli.commands.doctor import print_findings
from alertctl.client.local import LocalClient
from alertctl.config import Settings, load
from alertctl.db import Store, upgrade
from alertctl.doctor import checks_for, run
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest, as_json

USER = "planted-user"
SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-planted-slack-5ecret",
    "SENDGRID_API_KEY": "SG.planted.sendgrid-5ecret",
    "SMTP_PASSWORD": "planted smtp/5ecret",
}
Mailer = Literal["sendgrid", "smtp"]


def main(mailer: Mailer, faults: list[str]) -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    with Sandbox() as sandbox:
        sandbox.slack.token, sandbox.sendgrid.api_key = SECRETS["SLACK_BOT_TOKEN"], SECRETS["SENDGRID_API_KEY"]
        sandbox.smtp.credentials = (USER, SECRETS["SMTP_PASSWORD"])
        empty = Store("sqlite:///empty.db")
        upgrade(empty)
        empty.close()
        for number, fault in enumerate(faults):
            sandbox.clear()
            _misbehave(sandbox, mailer, fault)
            # A database for each: the breaker that one fault opens must not keep us from the next. Half of the time
            # would go to their migrations.
            shutil.copy("empty.db", f"alertctl-{number}.db")
            send_and_diagnose(
                load(flags={**sandbox.settings(mailer), "DATABASE_URL": f"sqlite:///alertctl-{number}.db"})
            )
            assert all(_presented(sandbox, mailer)), f"{fault}: a secret never travelled, so none could leak"
            print(f"survived {fault}")


def send_and_diagnose(settings: Settings) -> None:
    """Send to both channels, print the log and the doctor's findings: everything that a user can see."""
    logging.getLogger("alertctl").debug("%r %s", settings, settings.describe())
    with LocalClient(settings) as client:
        for target in ("slack:#alerts", "email:dev@corp.example"):
            request = PublishRequest(event_type="safety_rollback", fields={"feature_flag": "checkout-v3"}, to=[target])
            try:
                items = client.deliver(client.publish(request).event_id)
                print(json.dumps([as_json(client.show(item.id)) for item in items]))
            except Exception:
                traceback.print_exc()
    print_findings(run(list(checks_for(settings)), settings, datetime.now(UTC)))


def _misbehave(sandbox: Sandbox, mailer: Mailer, fault: str) -> None:
    """Set a fault; `ECHO` is a reply that repeats our own credentials."""
    sandbox.smtp.auth_error = None
    if mailer == "smtp" and fault == "ECHO":
        sandbox.smtp.auth_error = f"{SECRETS['SMTP_PASSWORD']} is wrong"
    elif mailer == "smtp" and fault != "ok":
        sandbox.smtp.faults.always(fault)
    elif mailer == "sendgrid" and fault != "ok":
        for provider, name in ((sandbox.slack, "SLACK_BOT_TOKEN"), (sandbox.sendgrid, "SENDGRID_API_KEY")):
            echo = {"ok": False, "error": f"bad {SECRETS[name]}", "errors": [{"message": SECRETS[name]}]}
            provider.faults.always(f"reply:{json.dumps(echo)}" if fault == "ECHO" else fault)


def _presented(sandbox: Sandbox, mailer: Mailer) -> list[bool]:
    """Return for each provider whether it received the secret (for SMTP: a connection)."""
    by_slack = {call.headers.get("authorization") for call in sandbox.slack.calls}
    by_sendgrid = {call.headers.get("authorization") for call in sandbox.sendgrid.calls}
    return [
        by_slack == {f"Bearer {SECRETS['SLACK_BOT_TOKEN']}"},
        by_sendgrid == {f"Bearer {SECRETS['SENDGRID_API_KEY']}"}
        if mailer == "sendgrid"
        else sandbox.smtp.connections > 0,
    ]


if __name__ == "__main__":
    os.environ["ALERTCTL_DEADLINE"] = "2s"
    main(cast("Mailer", sys.argv[1]), sys.argv[2:])
