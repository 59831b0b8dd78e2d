import errno
import os

import pytest

from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.folder import errors_with_advice, holds_runs, set_aside, work_folder


def fail_in(folder, keep=lambda: False, meanwhile=lambda: None):
    with pytest.raises(UserError), work_folder(folder, keep):
        meanwhile()
        raise UserError("wrong data")


def test_a_users_error_leaves_nothing_behind(tmp_path):
    fail_in(tmp_path / "outputs" / "mine", meanwhile=lambda: (tmp_path / "outputs" / "mine" / "config.yaml").touch())
    assert list(tmp_path.iterdir()) == []


def test_a_users_error_leaves_another_experiments_results_alone(tmp_path):
    other = tmp_path / "outputs" / "other" / "runs"
    fail_in(tmp_path / "outputs" / "mine", meanwhile=lambda: other.mkdir(parents=True))
    assert other.exists()
    assert not (tmp_path / "outputs" / "mine").exists()


def test_a_users_error_leaves_what_is_to_be_kept_and_what_was_there_before(tmp_path):
    fail_in(tmp_path / "new", keep=lambda: True)
    fail_in(tmp_path / "new")
    assert (tmp_path / "new").exists()


def test_a_users_error_leaves_a_folder_in_which_others_work(tmp_path):
    with Claims(tmp_path / "elsewhere"):
        fail_in(tmp_path / "elsewhere")
    others = []
    fail_in(tmp_path / "new", meanwhile=lambda: others.append(Claims(tmp_path / "new")))
    assert (tmp_path / "new" / ".lock").exists()


def test_a_users_error_leaves_the_folder_where_locks_are_refused_and_others_cannot_be_seen(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("sharpness_phases.store.claims.fcntl.lockf", refuse)
    fail_in(tmp_path / "new", meanwhile=lambda: (tmp_path / "new" / "of_another").touch())
    assert (tmp_path / "new" / "of_another").exists()


def test_a_path_that_cannot_be_a_folder_is_the_users_error_and_one_that_may_not_be_is_the_machines(
    tmp_path, monkeypatch
):
    with pytest.raises(UserError, match="File name too long"), work_folder(tmp_path / ("x" * 300), lambda: False):
        pass

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("pathlib.Path.exists", refuse)
    with pytest.raises(MachineError, match="Permission denied"), work_folder(tmp_path / "new", lambda: False):
        pass


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "No space left. Finished runs are kept"),
        (MemoryError(), "Out of memory"),
    ],
)
def test_what_to_do_is_said_where_the_machine_gives_out(tmp_path, error, message):
    with pytest.raises(MachineError, match=message), errors_with_advice(tmp_path):
        raise error


def test_what_is_set_aside_takes_the_first_free_number(tmp_path):
    (tmp_path / "runs.old-1").mkdir()
    assert set_aside(tmp_path / "runs") is None
    (tmp_path / "runs").mkdir()
    assert set_aside(tmp_path / "runs") == tmp_path / "runs.old-2"
    assert (tmp_path / "runs.old-2").exists()


def test_what_belongs_to_it_is_set_aside_under_the_same_number(tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("config.yaml", "config.yaml.old-1"):
        (tmp_path / name).write_text(name)
    assert set_aside(tmp_path / "runs", tmp_path / "config.yaml", tmp_path / "absent") == tmp_path / "runs.old-2"
    assert (tmp_path / "config.yaml.old-2").read_text() == "config.yaml"
    assert not (tmp_path / "config.yaml").exists()


def test_a_linked_folder_is_set_aside_where_it_is_and_the_link_leads_to_an_empty_one(tmp_path):
    large = tmp_path / "large_disk" / "runs"
    large.mkdir(parents=True)
    (large / "a.parquet").touch()
    (tmp_path / "runs").symlink_to(large)
    assert set_aside(tmp_path / "runs") == large.with_name("runs.old-1")
    assert (large.with_name("runs.old-1") / "a.parquet").exists()
    assert list((tmp_path / "runs").iterdir()) == []
    assert (tmp_path / "runs").resolve() == large


def test_only_whole_files_of_runs_count_as_runs(tmp_path):
    assert not holds_runs(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in (".unfinished-1-a.parquet", "notes.txt"):
        (tmp_path / "runs" / name).touch()
    assert not holds_runs(tmp_path)
    (tmp_path / "runs" / "a.parquet").touch()
    assert holds_runs(tmp_path)
