"""`alertctl db`: inspect, upgrade, back up and copy the database."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertctl.cli.context import settings_of
from alertctl.cli.output.progress import bar
from alertctl.cli.output.streams import (
    Output,
    OutputOption,
    eprint,
    print_error,
    print_json,
    print_line,
    print_pairs,
    warn,
)
from alertctl.cli.output.table import Column, print_table
from alertctl.cli.output.times import now
from alertctl.config.database_url import database_url, masked
from alertctl.errors import AlertctlError, ConfigError, Unreachable

if TYPE_CHECKING:
    from alertctl.config import Settings
    from alertctl.db import Store
    from alertctl.db.copy import CopyResult
    from alertctl.db.info import DatabaseInfo

HELP = """
\b
alertctl db status
alertctl db backup alertctl-backup.db
alertctl db copy --to postgresql://alertctl@db.corp.example/alertctl

Inspect, upgrade, back up and copy the database of the delivery log.
"""
app = typer.Typer(name="db", help=HELP, no_args_is_help=True, rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File to write; its folder must exist.")]
ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="URL",
        help="Empty database, or one with an earlier copy of the same database. Password: PGPASSWORD.",
    ),
]
HINTS = {
    "missing": "the database doesn't exist yet: the first command that needs it creates it",
    "empty": "there are no tables yet: the first command that needs them creates them",
    "behind": "an upgrade is due: alertctl db backup FILE, then alertctl db upgrade",
    "newer": "the database is from a newer alertctl: upgrade alertctl here",
}
COPY_ROWS = ("table", "source", "target", "added", "changed", "removed")


@app.command(short_help="Show its location, version, size and row counts.")
def status(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl db status
    alertctl db status -o json

    Show the database's location, engine, version, size and row counts. Changes nothing.
    """
    from alertctl.db import Store
    from alertctl.db.info import read_info
    from alertctl.db.sqlite import file_of

    settings = _settings(context)
    file, info = file_of(settings.database.url), None
    # A file that doesn't exist is not created.
    if file is None or file.exists():
        with closing(Store(settings.database.url)) as store:
            info = read_info(store)
    if output is Output.JSON:
        print_json(_as_data(settings, info))
    else:
        _print_status(settings, info)
    hint = HINTS.get(info.state if info is not None else "missing")
    if hint:
        eprint(hint)


@app.command(short_help="Upgrade the tables to the version that this alertctl needs.")
def upgrade(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl db upgrade
    alertctl db upgrade -o json

    Upgrade the database to the version that this alertctl needs. Most other commands do this automatically.
    Concurrent upgrades are safe. Make a backup first: alertctl db backup FILE.
    """
    from alertctl.db import HEAD, Store, current_version
    from alertctl.db import upgrade as migrate

    with closing(Store(_settings(context).database.url)) as store:
        before = current_version(store)
        migrate(store)
    if output is Output.JSON:
        print_json({"from": before, "to": HEAD, "upgraded": before != HEAD})
    elif before == HEAD:
        eprint(f"nothing to do: the database has version {HEAD}")
    else:
        eprint(f"upgraded from {before or 'nothing'} to {HEAD}")


@app.command(short_help="Back up an SQLite database while it is in use.")
def backup(
    context: typer.Context,
    file: FileArgument,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl db backup /var/backups/alertctl.db
    alertctl db backup --force /var/backups/alertctl.db

    Back up an SQLite database to FILE: a consistent, checked copy that only its owner can read (with --force, it
    keeps the mode of the file that it replaces). `alertctl serve` may keep running. To restore, point DATABASE_URL
    at the file (sqlite:////var/backups/alertctl.db).
    """
    from alertctl.db.backup import backup as write
    from alertctl.db.sqlite import file_of

    url = _settings(context).database.url
    source = file_of(url)
    if source is None:
        raise ConfigError([f"DATABASE_URL: is Postgres; use its own tool: {_pg_dump(url, file)}"])
    _must_exist(source)
    with bar() as progress:
        size = write(source, file, force=force, advance=lambda done, pages: progress("pages", done, pages))
    if output is Output.JSON:
        print_json({"file": str(file.absolute()), "size_bytes": size})
    else:
        print_line(str(file))
        eprint(f"{_size(size)}, checked; to restore: DATABASE_URL={shlex.quote(f'sqlite:///{file.absolute()}')}")


@app.command(short_help="Copy everything to another database, e.g. from SQLite to Postgres.")
def copy(context: typer.Context, to: ToOption, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl db copy --to postgresql://alertctl@db.corp.example/alertctl
    alertctl --database sqlite:///old.db db copy --to sqlite:///new.db

    Copy everything in the database (DATABASE_URL) to another one: the log, users, preferences, tokens.

    \b
    1. Stop alertctl serve.
    2. Copy. If the copy is interrupted or the old database changed, run it again;
       no row is duplicated.
    3. Set DATABASE_URL to the new database and start alertctl serve: it sends
       what is due.

    To stop the daemon only briefly, copy a long log while it runs, then stop it and copy again, which is faster.
    """
    from alertctl.db.copy import copy as copy_all
    from alertctl.db.sqlite import file_of

    source_url = _settings(context).database.url
    try:
        target_url = database_url(to)
    except ValueError as error:
        raise ConfigError([f"--to: {error}"]) from None
    if file := file_of(source_url):
        _must_exist(file)
    with _opened(source_url, "DATABASE_URL") as source, _opened(target_url, "--to") as target, bar() as progress:
        try:
            done = copy_all(source, target, now(), progress)
        except KeyboardInterrupt:
            print_error("interrupted; run it again to continue")
            raise
    if output is Output.JSON:
        ends = {"from": masked(source_url), "to": masked(target_url)}
        print_json({**ends, "complete": done.is_complete, "items": [asdict(table) for table in done.tables]})
    else:
        rows = [[str(asdict(table)[name]) for name in COPY_ROWS] for table in done.tables]
        print_table([Column(name.upper()) for name in COPY_ROWS], rows)
    _check_copied(done)


def _settings(context: typer.Context) -> Settings:
    """Return the settings. Raises ConfigError when they select a server instead of a database."""
    settings = settings_of(context)
    if settings.alertctl.server and settings.origin("DATABASE_URL") == "default":
        raise ConfigError(["DATABASE_URL: is not set; alertctl db needs it and ignores ALERTCTL_SERVER"])
    return settings


def _must_exist(file: Path) -> None:
    if not file.exists():
        raise ConfigError([f"DATABASE_URL: there is no {file}"])


@contextmanager
def _opened(url: str, option: str) -> Iterator[Store]:
    """Yield the database, migrated. Its errors name `option`."""
    from alertctl.db import Store
    from alertctl.db import upgrade as migrate

    with ExitStack() as stack:
        try:
            store = stack.enter_context(closing(Store(url)))
            migrate(store)
        except ConfigError as error:
            raise ConfigError([line.replace("DATABASE_URL", option, 1) for line in error.problems]) from error
        except Unreachable as error:
            raise Unreachable(str(error).replace("DATABASE_URL", option)) from error
        yield store


def _pg_dump(url: str, file: Path) -> str:
    """Return the command that makes the backup; the password comes from ~/.pgpass or PGPASSWORD."""
    from sqlalchemy.engine import make_url

    plain = make_url(url).set(drivername="postgresql").difference_update_query(["password", "sslpassword"])
    address = plain._replace(password=None).render_as_string()
    return shlex.join(["pg_dump", "--format=custom", f"--file={file}", address])


def _as_data(settings: Settings, info: DatabaseInfo | None) -> dict[str, Any]:
    origin = {"database": masked(settings.database.url), "origin": settings.origin("DATABASE_URL")}
    if info is None:
        return origin | {"state": "missing"}
    data = asdict(info)
    return origin | {"state": info.state, "size_bytes": data.pop("size"), **data}


def _print_status(settings: Settings, info: DatabaseInfo | None) -> None:
    lines = [("database", masked(settings.database.url)), ("set by", settings.origin("DATABASE_URL"))]
    if info is not None:
        version = f"{info.version or 'none'} ({info.state}; this alertctl needs {info.known})"
        lines += [("engine", info.engine), ("version", version), ("size", _size(info.size))]
        lines += [(name.replace("_", " "), value) for name, value in info.details.items()]
        lines += [
            (f"rows in {table.table}", f"{table.count}" if table.exact else f"about {table.count}")
            for table in info.rows
        ]
    print_pairs(lines)


def _size(count: float) -> str:
    """Return a readable size: 640 kB, 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _check_copied(done: CopyResult) -> None:
    """Warn about what changed in the copy. Raises AlertctlError when it can't be used."""
    if replaced := sum(table.replaced for table in done.tables):
        warn(f"{replaced} values hold what Postgres can't (NUL, or too many characters): replaced or cut")
    if done.sending:
        warn(f"{done.sending} deliveries were being sent meanwhile: is an alertctl serve running on the old database?")
    if done.used:
        raise AlertctlError("the new database is already in use: copy to an empty one")
    if done.moved:
        raise AlertctlError("the old database changed meanwhile: stop alertctl serve there, then run this again")
    for table in done.tables:
        if table.source != table.target:
            counts = f"{table.source} rows in the old database, {table.target} in the new one"
            raise AlertctlError(f"{table.table}: {counts}")
