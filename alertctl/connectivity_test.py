"""Send one test message and report the provider's answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from alertctl import delivery_log
from alertctl.channels import ChannelType, channel_type
from alertctl.db import Store, TransactionRunner
from alertctl.dispatcher import Dispatcher
from alertctl.errors import InvalidEvent
from alertctl.publish import prepare, publish
from alertctl.routing import Audience
from alertctl.schemas import ConnectivityTestResult, DeliveryDetail, DeliveryItem, PublishRequest


def send_test_message(
    store: Store,
    connect: TransactionRunner,
    dispatcher: Dispatcher,
    audience: Audience,
    channel: str,
    to: str | None,
    by: str | None,
    clock: Callable[[], datetime],
    seconds: float,
) -> ConnectivityTestResult:
    """Send one test message and wait `seconds` seconds at most for its verdict. Raises InvalidEvent, Unreachable."""
    address = to or _usual(channel_type(channel), audience)
    publication = prepare(_test_request(channel, address), audience, by, is_test=True)
    event_id = ""

    def publish_test(connection: Connection) -> str:
        nonlocal event_id
        event_id = publish(connection, publication, clock()).event_id
        return event_id

    if channel in audience.enabled:
        dispatcher.send_now(channel, publish_test)
        wait_for_results(store, event_id, seconds)
    else:
        connect.write(publish_test)
    with store.reading() as connection:
        item = delivery_log.items_of(connection, [event_id])[event_id][0]
        return _told(delivery_log.detail(connection, item.id))


def _test_request(channel: str, address: str) -> PublishRequest:
    fields = {
        "title": "Test notification",
        "message": "If you can read this, alertctl reaches you here.",
        "source": "alertctl",
    }
    return PublishRequest(event_type="generic_alert", fields=fields, to=[f"{channel}:{address}"])


def _usual(channel: ChannelType, audience: Audience) -> str:
    for target in audience.targets:
        if target.channel == channel.name:
            return target.address
    setting = f", or set {channel.default_addresses_setting}" if channel.default_addresses_setting else ""
    raise InvalidEvent("to", f"nobody to send to: give an address{setting}")


def wait_for_results(store: Store, event_id: str, seconds: float, *, only_sending: bool = False) -> list[DeliveryItem]:
    """An event's deliveries once each has a verdict, or patience (seconds) ends.

    With `only_sending` what isn't being sent this moment isn't waited for.
    """
    moving = ("sending",) if only_sending else ("sending", "pending")
    deadline = time.monotonic() + seconds
    while True:
        with store.reading() as connection:
            items = delivery_log.items_of(connection, [event_id])[event_id]
        if all(item.status not in moving for item in items) or time.monotonic() >= deadline:
            return items
        time.sleep(0.05)


def _told(one: DeliveryDetail) -> ConnectivityTestResult:
    last = one.attempt_log[-1] if one.attempt_log else None
    answer = last.answer if last else None
    if one.status == "success":
        message = f"Test notification sent to {one.to}"
    elif one.status == "suppressed":
        message = f"{one.channel} is switched off: set {channel_type(one.channel).enabled_setting}=true"
    else:
        said = answer if answer and answer != one.error else ""
        message = f"Not delivered to {one.to}: {one.error or one.status}" + (f" ({said})" if said else "")
    return ConnectivityTestResult(
        success=one.status == "success", message=message, delivery_id=one.id, error=one.error, answer=answer
    )
