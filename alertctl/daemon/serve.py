"""Build the daemon, run it until a signal stops it, and close everything again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import uvicorn
from fastapi import FastAPI

from alertctl import outbox, users
from alertctl.api import Services, create_app
from alertctl.channels import build
from alertctl.channels.reloading import ReloadingChannel
from alertctl.config import Settings, check, is_loopback
from alertctl.config.secret_files import SecretFiles, current_database_url
from alertctl.connectivity_test import send_test_message
from alertctl.daemon.admin_alert_job import WATCH_SECONDS, AdminAlertJob
from alertctl.daemon.attempt_log import log_attempts
from alertctl.daemon.clock import ClockGuard, IntervalTrigger
from alertctl.daemon.file_limit import LoopErrorHandler, max_connections, raise_file_limit
from alertctl.daemon.http_protocol import HttpProtocol
from alertctl.daemon.logging import configure_logging, mask_also
from alertctl.daemon.metrics import Metrics
from alertctl.daemon.scheduler import SchedulerHeartbeat, schedule
from alertctl.daemon.secrets_job import SECRETS_SECONDS, SecretsJob
from alertctl.daemon.signals import notify_systemd, on_stop
from alertctl.daemon.spool_job import SPOOL_SECONDS, SpoolJob, addresses_of
from alertctl.db import HEAD, Store, WakeUps, Writer, current_version, upgrade
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.dispatcher.worker import GRACE_SECONDS
from alertctl.errors import ConfigError, Unreachable
from alertctl.events import BY_NAME
from alertctl.events.wording import problems as wording_problems
from alertctl.outbox import AttemptResult, ClaimScope
from alertctl.routing import RoutingRules, routing_rules_of
from alertctl.spool import Spool

log = logging.getLogger("alertctl.daemon")
DATABASE_TIMEOUT = 30.0
"""Seconds that a starting daemon waits for its database: in a compose file both start together."""
STOP_SECONDS = 0.2
"""Longest time in seconds until a starting daemon notices that it was stopped."""
TEST_MARGIN = 5.0
"""Seconds beyond an attempt's deadline that POST /test waits for the result."""
GARBAGE_THRESHOLD = 20_000
"""New objects before the garbage collector runs: slack_sdk makes some 20 cyclic ones for each message."""
FINISH_SECONDS = 10
"""Seconds that open HTTP requests get to finish when the daemon stops."""
NO_AUTHENTICATION = (
    "ALERTCTL_HOST: {host} is reachable from other machines, but no credentials exist; create a token "
    "(alertctl token create --user you@example.com --role admin) or set JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS"
)


def now() -> datetime:
    return datetime.now(UTC)


def serve(settings: Settings, host: str | None = None, port: int | None = None, scheduler: bool = True) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Raises ConfigError or Unreachable at the start."""
    configure_logging(settings.alertctl.log_level, settings.alertctl.log_format, settings.secrets())
    _check_settings(settings)
    raise_file_limit()
    host = host or settings.alertctl.host
    port = settings.alertctl.port if port is None else port
    store = Store(settings.database.url, pool_size=16, current_url=current_database_url(settings, mask_also))
    stopping = threading.Event()
    on_stop(stopping.set)
    _run_until_stopped(lambda: _prepare(settings, store, host, stopping), stopping)
    if stopping.is_set():
        log.info("stopped before the database was ready")
        return 0
    with _running(settings, store, scheduler, addresses_of(settings, host, port), stopping) as app:
        server = _Server(app, host, port, stopping, json_log=settings.alertctl.log_format == "json")
        try:
            server.run()
        except SystemExit:
            # uvicorn has logged the cause: the port is taken, or the host unknown.
            log.error("cannot listen on %s port %d; choose another with --host or --port", host, port)
            return 1
    return 0


def _check_settings(settings: Settings) -> None:
    """Warn of settings that let others get in or listen. Raises ConfigError for those that do, and for wrong routes."""
    errors = [f"{name}: {refusal.message}" for name, refusal in settings.refusals.items()]
    for problem in check(settings):
        line = f"{problem.name}: {problem.message}"
        if problem.name in settings.refusals or not problem.name.startswith(("JWT_", "DATABASE_URL")):
            continue
        if problem.severity == "error":
            errors.append(line)
        else:
            log.warning("%s", line)
    errors += routing_rules_of(settings).routes.problems
    if errors:
        raise ConfigError(errors)
    for name, message in wording_problems(settings.messages, BY_NAME):
        log.warning("%s: %s; the built-in text is sent", name, message)


def _run_until_stopped(function: Callable[[], None], stopping: threading.Event) -> None:
    """Run a function, but return at once when `stopping` is set. Raises what the function raised.

    It runs in another thread: the look-up of a host name can't be interrupted, and would delay the signal handler.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            function()
            outcome.set_result(None)
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="alertctl-start", daemon=True).start()
    while not stopping.is_set():
        if wait([outcome], STOP_SECONDS).done:
            outcome.result()
            break


def _prepare(settings: Settings, store: Store, host: str, stopping: threading.Event) -> None:
    """Wait for the database, upgrade it, and check that callers can be authenticated."""
    deadline, logged = time.monotonic() + DATABASE_TIMEOUT, ""
    while not stopping.is_set():
        try:
            upgrade(store)
            store.write(outbox.resume_sequence_after_restore)
            _require_authentication(settings, store, host)
            break
        except Unreachable as error:
            if time.monotonic() >= deadline or store.is_sqlite:
                raise
            if str(error) != logged:
                logged = str(error)
                log.warning("%s; waiting for the database for up to %.0f s", logged, DATABASE_TIMEOUT)
            stopping.wait(1)


def _require_authentication(settings: Settings, store: Store, host: str) -> None:
    jwt = settings.jwt
    accepts_jwt = jwt.secret.get_secret_value() or jwt.public_key or jwt.jwks
    if not is_loopback(host) and not accepts_jwt and not store.read(users.any_token, now()):
        raise ConfigError([NO_AUTHENTICATION.format(host=host)])


@contextmanager
def _running(
    settings: Settings, store: Store, scheduled: bool, addresses: list[str], stopping: threading.Event
) -> Iterator[FastAPI]:
    """Build and start everything that lives as long as the daemon; stop and close it in order."""
    writer, heartbeat = Writer(store), SchedulerHeartbeat()
    channels, rules = build(settings), routing_rules_of(settings)
    metrics = Metrics(store, now, writer.check, channels)

    def observe(scope: ClaimScope, ended: Sequence[AttemptResult], final: Sequence[bool]) -> None:
        metrics.ended(scope, ended, final)
        log_attempts(scope, ended, final)

    is_clock_trusted = ClockGuard().is_trusted
    dispatcher = Dispatcher(writer, channels, DispatchOptions.of(settings), now, observe, is_clock_trusted)
    scheduler = schedule(settings, writer, dispatcher, heartbeat, now, is_clock_trusted, metrics.expired)
    spool_job = SpoolJob(Spool.of(os.environ), settings, addresses, store, writer, dispatcher.wake, now)
    scheduler.add_job(spool_job, IntervalTrigger(SPOOL_SECONDS), id="spool", next_run_time=now())
    if any(isinstance(channel, ReloadingChannel) for channel in channels.values()):
        scheduler.add_job(SecretsJob(channels, dispatcher), IntervalTrigger(SECRETS_SECONDS), id="secrets")
    providers = {channel.provider: name for name, channel in channels.items()}
    admin_alert_job = AdminAlertJob(writer, rules, providers, dispatcher.wake, now)
    scheduler.add_job(admin_alert_job, IntervalTrigger(WATCH_SECONDS), id="watch", next_run_time=now())
    wake_ups = WakeUps(store, lambda connection: outbox.is_due(connection, now()), dispatcher.wake)
    readiness = partial(_readiness, store, writer, dispatcher, heartbeat, scheduled)
    app = create_app(_services(settings, store, writer, rules, dispatcher, metrics, readiness, stopping))
    # Exclude the objects of the start from garbage collection, and collect rarely: every few hundred messages.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    if scheduled:
        wake_ups.start()
        dispatcher.start()
        scheduler.start()
    try:
        yield app
    finally:
        notify_systemd("STOPPING=1")
        if scheduled:
            wake_ups.stop()
            scheduler.shutdown(wait=False)
            admin_alert_job.stop()
            dispatcher.stop(max([GRACE_SECONDS, *(channel.deadline for channel in channels.values())]) + 2)
        writer.close()
        for channel in channels.values():
            channel.close()
        store.close()


def _services(
    settings: Settings,
    store: Store,
    writer: Writer,
    rules: RoutingRules,
    dispatcher: Dispatcher,
    metrics: Metrics,
    readiness: Callable[[], dict[str, str]],
    stopping: threading.Event,
) -> Services:
    test_timeout = settings.alertctl.deadline + TEST_MARGIN
    return Services(
        settings=settings,
        jwt_settings=SecretFiles(settings, ("JWT_",), mask_also).current,
        store=store,
        writer=writer,
        clock=now,
        rules=rules,
        wake=dispatcher.wake,
        accepted=metrics.accepted,
        test=lambda channel, to, by, all_defaults: send_test_message(
            store, writer, dispatcher, rules, channel, to, by, now, test_timeout, all_defaults=all_defaults
        ),
        readiness=readiness,
        metrics=metrics.exposition,
        stopping=stopping.is_set,
    )


def _readiness(
    store: Store, writer: Writer, dispatcher: Dispatcher, heartbeat: SchedulerHeartbeat, scheduled: bool
) -> dict[str, str]:
    """Return each part's state: `ok` or what is wrong."""
    parts = {"database": "ok", "migrations": "ok", "scheduler": "ok", "dispatcher": "ok"}
    try:
        version = current_version(store)
        if version != HEAD:
            parts["migrations"] = f"version {version}, expected {HEAD}"
        writer.check()
    except Unreachable as error:
        # The answer is public: the log has the address, the user and the cause.
        log.warning("%s", error)
        parts["database"], parts["migrations"] = "cannot be reached, or takes no writes", "unknown"
    if not scheduled:
        parts["scheduler"] = parts["dispatcher"] = "off"
        return parts
    if not heartbeat.is_beating:
        parts["scheduler"] = "no heartbeat for a minute"
    if not dispatcher.alive:
        parts["dispatcher"] = "a channel's worker has ended"
    return parts


class _Server(uvicorn.Server):
    """uvicorn with our signals: SIGTERM ends in exit code 0, and a second one doesn't wait.

    Hook into uvicorn 0.54 (https://www.uvicorn.org/deployment/#running-programmatically): it raises a signal again
    after the shutdown, and no setting calls a function when the port is open. `pyproject.toml` bounds the version,
    `tests/test_library_contracts.py` checks what this class relies on.
    """

    def __init__(self, app: FastAPI, host: str, port: int, stopping: threading.Event, json_log: bool) -> None:
        self._stopping, self._json_log = stopping, json_log
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                # asyncio accepts this many at once before the protocol can close any.
                backlog=max_connections() // 4,
                http=HttpProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        on_stop(self._stop)
        if self._stopping.is_set():
            # The signal came before uvicorn ran.
            self._stop()
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        asyncio.get_running_loop().set_exception_handler(LoopErrorHandler())
        await super().startup()
        if not self.started:
            return
        bound = self.servers[0].sockets[0].getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        line = f"alertctl serves on http://{shown}:{bound[1]}"
        if self._json_log:
            # At every log level: programs wait for this line.
            logging.getLogger("alertctl.daemon.start").setLevel(logging.INFO)
            logging.getLogger("alertctl.daemon.start").info(line)
        else:
            # One write, newline included: another thread's log line must not come in between.
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        notify_systemd("READY=1")
