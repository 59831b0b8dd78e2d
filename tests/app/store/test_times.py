import pytest

from sharpness_phases.runs.spec import Cell
from sharpness_phases.store.times import TIMES_FILE, Stopwatch, Taken, read_times


@pytest.fixture
def noted(tmp_path):
    watch = Stopwatch(tmp_path)
    for cell, computed in ((Cell(2, 8, 0), 5), (Cell(2, 8, 1), 4), (Cell(2, 8, 2), 0), (Cell(2, 16, 0), 6)):
        watch.start()
        watch.stop(cell, computed)
    return tmp_path


def test_the_first_initialisation_of_an_architecture_has_its_building_in_it(noted):
    found = read_times(noted)
    assert [(each.width, each.seed, each.runs, each.begins) for each in found] == [
        (8, 0, 5, 1),
        (8, 1, 4, 0),
        (16, 0, 6, 1),
    ]
    assert all(each.seconds >= 0 for each in found)


def test_another_process_goes_on_in_the_same_file(noted):
    Stopwatch(noted).stop(Cell(2, 16, 1), 3)
    assert read_times(noted)[-1][:5] == (2, 16, 1, 3, 1)
    assert len((noted / TIMES_FILE).read_text().splitlines()) == 5


def test_half_a_line_of_a_killed_process_is_left_out(noted):
    with (noted / TIMES_FILE).open("a") as file:
        file.write("2,16,1,")
    assert len(read_times(noted)) == 3
    assert read_times(noted / "absent") == []
    assert isinstance(read_times(noted)[0], Taken)
