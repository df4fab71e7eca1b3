"""Publish the events that commands on this machine spooled while this daemon or its database was away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from alertctl import users
from alertctl.api.endpoints.events import record
from alertctl.config import Settings, is_loopback
from alertctl.db import Store, Writer
from alertctl.errors import NotAllowed, Stopping
from alertctl.publish import prepare, publish
from alertctl.routing import routing_rules_of
from alertctl.spool import Destination, EventNotAllowed, Flushed, Spool, Spooled, database_address
from alertctl.text import counted
from alertctl.users import Caller, Role

log = logging.getLogger("alertctl.daemon")
SPOOL_SECONDS = 2
"""How often a daemon looks into the spool: one system call where there is none."""
NEXT = "any alertctl command with a valid ALERTCTL_TOKEN publishes it"


class SpoolJob:
    """Publish spooled events for this daemon's database and for this daemon itself.

    An event for this daemon is published as the caller whose token it was meant to be sent with: the same call.
    """

    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        addresses: Iterable[str],
        store: Store,
        writer: Writer,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._spool = spool
        self._store = store
        self._writer = writer
        self._wake = wake
        self._clock = clock
        self._rules = routing_rules_of(settings)
        # Without `setting`: the caller's DATABASE_URL may be another one than the daemon's.
        self._database = Destination(database_address(settings.database.url), False)
        self._addresses = frozenset(addresses)
        self._logged_error: str | None = None

    def __call__(self) -> None:
        if not self._spool.waiting():
            return
        try:
            flushed = self._spool.flush(self._belongs_here, self._publish)
        except Exception:
            log.exception("spool: unexpected error; retrying later")
            return
        if flushed.published:
            self._wake()
        self._log_result(flushed)

    def _belongs_here(self, spooled: Spooled) -> bool:
        return self._database.accepts(spooled.destination) or spooled.destination in self._addresses

    def _publish(self, spooled: Spooled) -> None:
        now = self._clock()
        if self._database.accepts(spooled.destination):
            publication = prepare(spooled.request, self._rules)
            self._writer.write(publish, publication, now)
            return
        caller = self._owner(spooled)
        self._writer.submit(record, (prepare(spooled.request, self._rules, caller.name), caller, now))

    def _owner(self, spooled: Spooled) -> Caller:
        """Return the user whose token the event was meant to be sent with. Raises EventNotAllowed."""
        if spooled.caller is None:
            raise EventNotAllowed(f"it was spooled without a token; {NEXT}")
        try:
            caller = self._store.read(users.owner_of_token_hash, spooled.caller)
        except NotAllowed as error:
            raise EventNotAllowed(f"{error}; {NEXT}") from error
        if not caller.role.reaches(Role.DEVELOPER):
            raise EventNotAllowed(f"publishing requires the role developer, its token has {caller.role}; {NEXT}")
        # Without the token's id, recording checks the user again instead of the token.
        return replace(caller, token_id=None)

    def _log_result(self, flushed: Flushed) -> None:
        if flushed.published:
            log.info("published %d spooled events", flushed.published)
        for event in flushed.refused:
            log.warning("spool: %s %s was refused and set aside: %s", event.request.event_type, event.id, event.refused)
        for name in flushed.damaged:
            log.warning("spool: %s: set aside", name)
        if isinstance(flushed.error, Stopping):
            return
        if flushed.trouble and flushed.trouble != self._logged_error:
            remaining = counted(flushed.remaining, "event")
            log.warning("spool: %s remaining: %s; retrying later", remaining, flushed.trouble)
        self._logged_error = flushed.trouble


def addresses_of(settings: Settings, host: str, port: int) -> list[str]:
    """Return the addresses under which this machine's commands may know this daemon; none for port 0."""
    hosts = [host, *(("localhost", "127.0.0.1", "[::1]") if is_loopback(host) or host in ("0.0.0.0", "::") else ())]
    bracketed = [f"[{name}]" if ":" in name and "[" not in name else name for name in hosts]
    urls = [f"http://{name}:{port}" for name in bracketed] if port else []
    return [*urls, *([settings.alertctl.public_url] if settings.alertctl.public_url else [])]
