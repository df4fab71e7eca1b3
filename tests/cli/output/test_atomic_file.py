"""A file is replaced as a whole, under its mode, whatever other users put beside it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from alertctl.cli.output.atomic_file import atomic_write
from alertctl.cli.output.receipt import ReceiptFile
from alertctl.db.backup import backup
from alertctl.errors import ConfigError


def mode(file: Path) -> str:
    return oct(stat.S_IMODE(file.stat().st_mode))


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    # The name of the unfinished file could be guessed: it ended with our process's number.
    (tmp_path / f".receipt.json.{os.getpid()}").symlink_to(victim)
    with atomic_write(str(tmp_path / "receipt.json")) as out:
        out.write("{}")
    assert (victim.read_text(), (tmp_path / "receipt.json").read_text()) == ("mine", "{}")


@pytest.mark.parametrize("before", [0o600, 0o640, 0o666])
def test_a_replaced_file_keeps_its_mode(tmp_path, before):
    file = tmp_path / "receipt.json"
    file.touch()
    file.chmod(before)
    ReceiptFile(str(file)).write("lost")
    assert mode(file) == oct(before)


def test_a_new_file_has_the_usual_mode(tmp_path):
    umask = os.umask(0o027)
    try:
        with atomic_write(str(tmp_path / "new")):
            pass
    finally:
        os.umask(umask)
    assert mode(tmp_path / "new") == "0o640"


@pytest.mark.usefixtures("no_database")
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_write(str(file)) as out:
        out.write(f"half{chr(0xD800)}")
    assert (file.read_text(), os.listdir(tmp_path)) == ("old", ["log.jsonl"])


def test_a_backup_is_private_unless_it_replaces_a_file(tmp_path, sqlite_template):
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    old.touch()
    old.chmod(0o640)
    backup(sqlite_template, new)
    backup(sqlite_template, old, force=True)
    assert (mode(new), mode(old)) == ("0o600", "0o640")


def test_a_backup_to_a_link_replaces_the_file_that_it_points_to(tmp_path, sqlite_template):
    (tmp_path / "disk").mkdir()
    file, link = tmp_path / "disk" / "real.db", tmp_path / "link.db"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to("disk/real.db")
    with pytest.raises(ConfigError, match="--force replaces it"):
        backup(sqlite_template, link)
    assert backup(sqlite_template, link, force=True) == file.stat().st_size
    assert (os.readlink(link), mode(file)) == ("disk/real.db", "0o640")
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert os.listdir(tmp_path / "disk") == ["real.db"]


def test_a_backup_does_not_replace_a_database_in_use_through_a_link(tmp_path, sqlite_template):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real.db-wal").touch()
    (tmp_path / "disk" / "real.db").write_text("old")
    (tmp_path / "link.db").symlink_to("disk/real.db")
    with pytest.raises(ConfigError, match="is a database in use"):
        backup(sqlite_template, tmp_path / "link.db", force=True)
    assert (tmp_path / "disk" / "real.db").read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_a_link_of_another_user_is_not_followed(tmp_path, sqlite_template):
    (tmp_path / "private").mkdir()
    victim, link, chain = tmp_path / "private" / "victim", tmp_path / "link", tmp_path / "chain"
    folder, folder_chain, pipe_link = tmp_path / "folder", tmp_path / "folder_chain", tmp_path / "pipe_link"
    victim.write_text("mine")
    link.symlink_to(victim)
    chain.symlink_to("link")
    folder.symlink_to("private")
    folder_chain.symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    pipe_link.symlink_to("pipe")
    for theirs in (link, folder, pipe_link):
        os.chown(theirs, 1234, -1, follow_symlinks=False)
    for file in (link, chain, folder / "victim", folder_chain / "victim", pipe_link):
        with pytest.raises(PermissionError, match="is a link of another user"), atomic_write(str(file)) as out:
            out.write("{}")
        with pytest.raises(ConfigError, match="is a link of another user"):
            backup(sqlite_template, file, force=True)
    assert victim.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_a_link_to_a_folder_in_its_owners_folder_is_followed(tmp_path):
    app = tmp_path / "app"
    (app / "releases" / "5").mkdir(parents=True)
    (app / "current").symlink_to("releases/5")
    os.chown(app, 1234, -1)
    os.chown(app / "current", 1234, -1, follow_symlinks=False)
    with atomic_write(str(app / "current" / "receipt.json")) as out:
        out.write("{}")
    assert (app / "releases" / "5" / "receipt.json").read_text() == "{}"


def test_a_file_behind_our_own_links_is_replaced(tmp_path):
    (tmp_path / "2026" / "old").mkdir(parents=True)
    (tmp_path / "latest").symlink_to("2026/old")
    (tmp_path / "2026" / "file").symlink_to(tmp_path / "latest" / ".." / "receipt.json")
    with atomic_write(str(tmp_path / "latest" / ".." / "file")) as out:
        out.write("{}")
    assert (tmp_path / "2026" / "receipt.json").read_text() == "{}"
    assert (tmp_path / "2026" / "file").is_symlink()


def test_a_path_that_cannot_be_used_is_one_clear_error(tmp_path, sqlite_template):
    (tmp_path / "loop").symlink_to("loop")
    for file, problem in ((tmp_path / "loop", "Too many levels"), (tmp_path / ("x" * 300), "File name too long")):
        with pytest.raises(OSError, match=problem), atomic_write(str(file)):
            pass
        with pytest.raises(ConfigError, match=f"FILE: .*{problem}"):
            backup(sqlite_template, file)
