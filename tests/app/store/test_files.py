import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharpness_phases.store.files import atomic_file, flush_folder, remove_unfinished, write_text


def test_a_file_takes_its_place_only_when_it_is_finished(tmp_path):
    place = tmp_path / "new" / "table.csv"
    with atomic_file(place) as unfinished:
        assert unfinished.suffix == ".csv"
        unfinished.write_text("whole")
        assert not place.exists()
    assert place.read_text() == "whole"
    assert list(place.parent.iterdir()) == [place]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    place = tmp_path / "table.csv"
    place.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(place) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    place = tmp_path / "table.csv"
    place.write_text("kept")
    generator = atomic_file(place).gen
    next(generator).write_text("half")
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path, tmp_path / "absent")
    assert list(tmp_path.iterdir()) == [place]
    generator.close()


@pytest.fixture
def on_the_disk(monkeypatch):
    """The inodes that have been waited for, in their order; and what was renamed in between."""
    done, fsync, replace = [], os.fsync, Path.replace

    def noting(descriptor):
        done.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renaming(path, target):
        done.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(Path, "replace", renaming)
    return done


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_name_is_afterwards(tmp_path, on_the_disk):
    write_text(tmp_path / "new" / "deep" / "table.csv", "whole")
    new = tmp_path / "new"
    folders = [(new / "deep").stat().st_ino, new.stat().st_ino, tmp_path.stat().st_ino]
    file = (new / "deep" / "table.csv").stat().st_ino
    assert set(on_the_disk[:2]) == set(folders[1:])  # the names of the new folders
    assert on_the_disk[2:] == [file, "renamed", folders[0]]


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_flush_is_written_to_all_the_same(reason, tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(tmp_path / "table.csv", "whole")
    flush_folder(tmp_path)
    assert (tmp_path / "table.csv").read_text() == "whole"


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_leaves_what_was_there(reason, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("old")

    def fail(descriptor):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(reason)):
        write_text(tmp_path / "table.csv", "new")
    assert (tmp_path / "table.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_where_a_link_stands_its_target_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.csv", tmp_path / "table.csv"
    target.write_text("old")
    link.symlink_to(Path("elsewhere") / "real.csv")
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["real.csv"]


def test_where_a_link_leads_to_no_file_yet_its_target_is_made_and_a_circle_is_an_error(tmp_path):
    (tmp_path / "table.csv").symlink_to(tmp_path / "new" / "real.csv")
    write_text(tmp_path / "table.csv", "new")
    assert (tmp_path / "new" / "real.csv").read_text() == "new"
    (tmp_path / "circle.csv").symlink_to("circle.csv")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        write_text(tmp_path / "circle.csv", "new")


def test_a_text_is_in_utf_8_whatever_the_locale(tmp_path):
    program = "from pathlib import Path; from sharpness_phases.store.files import write_text; "
    program += f"write_text(Path({str(tmp_path / 'text')!r}), 'a \\u03bb')"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | ascii_only)
    assert (tmp_path / "text").read_bytes() == "a \u03bb".encode()
