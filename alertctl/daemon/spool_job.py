"""What `send` on this machine could tell nobody while this daemon or its database was away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from alertctl import users
from alertctl.api.endpoints.events import record
from alertctl.config import Settings, loopback
from alertctl.db import Store, Writer
from alertctl.errors import NotAllowed
from alertctl.publish import audience_of, prepare, publish
from alertctl.spool import EventNotAllowed, Flushed, Spool, Spooled, place_of
from alertctl.users import Caller, Role

log = logging.getLogger("alertctl.daemon")
SPOOL_SECONDS = 2
"""How often a daemon looks into the spool: one call to the system where there is none."""
NEXT = "any alertctl command with a valid ALERTCTL_TOKEN publishes it"


class SpoolJob:
    """Publishes what waits for this daemon's database, and for this daemon itself.

    The latter as the caller whose token it was to be sent with, so that it counts as the same call.
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
        self._spool, self._store, self._writer, self._wake, self._clock = spool, store, writer, wake, clock
        self._audience = audience_of(settings)
        self._database, self._addresses = place_of(settings.database.url), frozenset(addresses)
        self._said: str | None = None

    def __call__(self) -> None:
        if not self._spool.waiting():
            return
        try:
            flushed = self._spool.flush(self._mine, self._publish)
        except Exception:
            log.exception("spool: unexpected; again later")
            return
        if flushed.told:
            self._wake()
        self._say(flushed)

    def _mine(self, one: Spooled) -> bool:
        return one.destination == self._database or one.destination in self._addresses

    def _publish(self, one: Spooled) -> None:
        now = self._clock()
        if one.destination == self._database:
            publication = prepare(one.request, self._audience)
            self._writer.write(lambda connection: publish(connection, publication, now))
            return
        caller = self._owner(one)
        self._writer.submit(record, (prepare(one.request, self._audience, caller.name), caller, now))

    def _owner(self, one: Spooled) -> Caller:
        """Return the user whose token the event was to be sent with; the token itself may have been rotated since.

        Raises EventNotAllowed.
        """
        if one.caller is None:
            raise EventNotAllowed(f"it was sent without a token; {NEXT}")
        try:
            with self._store.reading() as connection:
                caller = users.owner_of_digest(connection, one.caller)
        except NotAllowed as error:
            raise EventNotAllowed(f"{error}; {NEXT}") from error
        if not caller.role.reaches(Role.DEVELOPER):
            raise EventNotAllowed(f"publishing needs the role developer, its token has {caller.role}; {NEXT}")
        # Without the token's id its user is checked once more, and not the token.
        return replace(caller, token_id=None)

    def _say(self, flushed: Flushed) -> None:
        if flushed.told:
            log.info("told %d events that waited in the spool", flushed.told)
        for one in flushed.refused:
            log.warning("spool: %s %s was refused and set aside: %s", one.request.event_type, one.id, one.refused)
        for name in flushed.damaged:
            log.warning("spool: %s: set aside", name)
        if flushed.trouble and flushed.trouble != self._said:
            log.warning("spool: %d events left: %s; again later", flushed.left, flushed.trouble)
        self._said = flushed.trouble


def addresses_of(settings: Settings, host: str, port: int) -> list[str]:
    """The addresses under which this machine's commands may know this daemon. Port 0 is known to none."""
    hosts = [host, *(("localhost", "127.0.0.1", "[::1]") if loopback(host) or host in ("0.0.0.0", "::") else ())]
    named = (
        [f"http://{f'[{each}]' if ':' in each and '[' not in each else each}:{port}" for each in hosts] if port else []
    )
    return [*named, *([settings.alertctl.public_url] if settings.alertctl.public_url else [])]
