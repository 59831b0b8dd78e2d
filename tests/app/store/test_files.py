import pytest

from sharpness_phases.store.files import atomic_file, remove_unfinished


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
