"""Send one test message and report the provider's answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from alertctl import delivery_log
from alertctl.channels import channel_type
from alertctl.channels.base import ChannelType
from alertctl.db import Store, TransactionRunner
from alertctl.dispatcher import Dispatcher
from alertctl.errors import InvalidEvent
from alertctl.publish import prepare, publish
from alertctl.routing import RoutingRules
from alertctl.schemas import ConnectivityTestResult, DeliveryDetail, DeliveryItem, PublishRequest


def send_test_message(
    store: Store,
    transactions: TransactionRunner,
    dispatcher: Dispatcher,
    rules: RoutingRules,
    channel: str,
    to: str | None,
    requested_by: str | None,
    clock: Callable[[], datetime],
    timeout: float,
    *,
    all_defaults: bool = False,
) -> ConnectivityTestResult:
    """Send one test message and wait up to `timeout` seconds for its result. Raises InvalidEvent, Unreachable.

    With `all_defaults` it goes to each of the channel's default addresses: then the first failed result is returned,
    else the first one, with the messages of all.
    """
    if to and all_defaults:
        raise InvalidEvent("all", "can't be combined with an address; leave one of them out")
    addresses = [to] if to else _default_addresses(channel_type(channel), rules, requested_by, all_defaults)
    fields = {
        "title": "Test notification",
        "message": "If you can read this, alertctl reaches you here.",
        "source": "alertctl",
    }
    targets = [f"{channel}:{address}" for address in addresses]
    request = PublishRequest(event_type="generic_alert", fields=fields, to=targets)
    publication = prepare(request, rules, requested_by, is_test=True)
    event_id = ""

    def publish_test(connection: Connection) -> str:
        nonlocal event_id
        event_id = publish(connection, publication, clock()).event_id
        return event_id

    if channel in rules.enabled:
        dispatcher.send_now(channel, publish_test)
        wait_for_results(store, event_id, timeout)
    else:
        transactions.write(publish_test)
    with store.reading() as connection:
        items = delivery_log.items_of(connection, [event_id])[event_id]
        results = [_result_of(delivery_log.detail(connection, item.id)) for item in items]
    first = next((result for result in results if not result.success), results[0])
    return replace(first, message="; ".join(result.message for result in results))


def _default_addresses(
    channel: ChannelType, rules: RoutingRules, requested_by: str | None, all_defaults: bool
) -> list[str]:
    """Return the first default address (`all_defaults`: all of them), else the caller's own. Raises InvalidEvent."""
    defaults = [target.address for target in rules.targets if target.channel == channel.name]
    if defaults:
        return defaults if all_defaults else defaults[:1]
    own_address = channel.own_address(requested_by) if requested_by else None
    if own_address:
        return [own_address]
    setting = f", or set {channel.default_addresses_setting}" if channel.default_addresses_setting else ""
    raise InvalidEvent("to", f"no address to send to; give one{setting}")


def wait_for_results(store: Store, event_id: str, timeout: float, *, only_sending: bool = False) -> list[DeliveryItem]:
    """Return an event's deliveries when each has a result, or after `timeout` seconds.

    With `only_sending`, wait only for those that are being sent now.
    """
    in_progress = ("sending",) if only_sending else ("sending", "pending")
    deadline = time.monotonic() + timeout
    while True:
        items = store.read(delivery_log.items_of, [event_id])[event_id]
        if all(item.status not in in_progress for item in items) or time.monotonic() >= deadline:
            return items
        time.sleep(0.05)


def _result_of(delivery: DeliveryDetail) -> ConnectivityTestResult:
    last_attempt = delivery.attempt_log[-1] if delivery.attempt_log else None
    answer = last_attempt.answer if last_attempt else None
    if delivery.status == "success":
        message = f"Test notification sent to {delivery.to}"
    elif delivery.status == "suppressed":
        message = f"{delivery.channel} is off; set {channel_type(delivery.channel).enabled_setting}=true"
    else:
        suffix = f" ({answer})" if answer and answer != delivery.error else ""
        message = f"Not delivered to {delivery.to}: {delivery.error or delivery.status}{suffix}"
    return ConnectivityTestResult(
        success=delivery.status == "success",
        message=message,
        delivery_id=delivery.id,
        error=delivery.error,
        answer=answer,
    )
