"""Files and folders that alertctl makes belong to one user; in a folder that can't be written, reading works."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from alertctl.client.local import LocalClient
from alertctl.config import load, state_folder
from alertctl.db import HEAD, Store, current_version, upgrade
from alertctl.db.backup import backup
from alertctl.errors import ConfigError, Unreachable
from alertctl.schemas import LogFilter, PublishRequest
from alertctl.spool import Destination, Spool
from tests.support.deliveries import NOW, announce

NOBODY = 65534


@pytest.fixture(params=[0o000, 0o022, 0o377])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(*paths: Path) -> set[str]:
    return {oct(stat.S_IMODE(path.stat().st_mode)) for path in paths}


def write_database(folder: Path) -> None:
    with closing(Store(f"sqlite:///{folder / 'alertctl.db'}")) as store:
        upgrade(store)
        with store.reading() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM event")
            names = ("alertctl.db", "alertctl.db-wal", "alertctl.db-shm")
            assert modes(*(folder / name for name in names)) == {"0o600"}


def write_spool(folder: Path) -> None:
    request = PublishRequest(event_type="generic_alert", fields={}, idempotency_key="k")
    Spool(folder / "spool").keep(request, Destination("sqlite:////x", False), "away", NOW)


@pytest.mark.parametrize("order", [(write_database, write_spool), (write_spool, write_database)])
def test_files_and_folders_are_private_whatever_the_umask_and_whichever_comes_first(tmp_path, umask, order):
    folder = state_folder({"XDG_STATE_HOME": str(tmp_path / "home" / "state")})
    for write in order:
        write(folder)
    assert modes(tmp_path / "home", folder.parent, folder, folder / "spool") == {"0o700"}
    assert modes(*(folder / "spool").iterdir(), folder / "alertctl.db") == {"0o600"}


def test_a_temporary_state_folder_is_private_whatever_the_umask(tmp_path, umask):
    folder = state_folder({"HOME": "/nonexistent", "TMPDIR": str(tmp_path)})
    assert (folder.parent, modes(folder)) == (tmp_path, {"0o700"})


def test_existing_folders_and_files_keep_their_modes(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o770)
    file = folder / "alertctl.db"
    file.touch()
    file.chmod(0o660)
    with closing(Store(f"sqlite:///{file}")) as store:
        upgrade(store)
    assert (modes(folder), modes(file)) == ({"0o770"}, {"0o660"})


@pytest.fixture
def readable(sqlite_template):
    """A log in a folder that this process can't write to, as an ordinary user."""
    folder = Path(tempfile.mkdtemp())
    file = folder / "alertctl.db"
    shutil.copyfile(sqlite_template, file)
    with closing(Store(f"sqlite:///{file}")) as store:
        announce(store, "slack:#a")
    (folder / "alertctl.db-lock").unlink()
    file.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield file
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_in_a_folder_that_cannot_be_written_the_log_is_read(readable):
    settings = load({"DATABASE_URL": f"sqlite:///{readable}"}, cwd=Path("/nonexistent"))
    with LocalClient(settings) as client:
        assert [item.to for item in client.log(LogFilter()).items] == ["#a"]
        with pytest.raises(Unreachable, match="readonly database"):
            client.publish(PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=["slack:#b"]))
    assert {path.name for path in readable.parent.iterdir()} == {"alertctl.db"}


def test_a_reader_sees_what_another_user_begins_to_write(readable):
    with closing(Store(f"sqlite:///{readable}")) as store:
        assert current_version(store) == HEAD
        os.seteuid(os.getuid())
        with closing(Store(f"sqlite:///{readable}")) as writer:
            second = announce(writer, "slack:#b")
            os.seteuid(NOBODY if os.getuid() == 0 else os.getuid())
            with store.reading() as connection:
                ids = connection.exec_driver_sql("SELECT id FROM event").scalars().all()
            assert second in ids
            os.seteuid(os.getuid())


def test_a_log_in_a_folder_that_cannot_be_written_is_backed_up(readable):
    folder = Path(tempfile.mkdtemp())
    copy = folder / "copy.db"
    assert backup(readable, copy) > 0
    with closing(Store(f"sqlite:///{copy}")) as store:
        assert current_version(store) == HEAD
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="Permission denied"):
        backup(readable, readable.with_name("copy.db"))
