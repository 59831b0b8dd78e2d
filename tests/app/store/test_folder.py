import errno
import os

import pytest

from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.store.folder import errors_with_advice, set_aside, work_folder


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
