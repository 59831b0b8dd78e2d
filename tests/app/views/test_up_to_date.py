import os

import pytest
import tables

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.config.loading import dump_config, load_config
from sharpness_phases.views.up_to_date import REPORT_FILE, drawn_from, is_up_to_date

CONFIG = load_config("quickstart", ["sweep.widths=[8]"])


@pytest.fixture
def findings():
    return Findings(tables.runs(widths=(8,)), CONFIG)


@pytest.fixture
def folder(tmp_path, findings):
    """A folder in which a picture and then the report were written."""
    (tmp_path / "config.yaml").write_text(dump_config(CONFIG))
    (tmp_path / "picture.png").touch()
    source = drawn_from(findings, tmp_path)
    (tmp_path / REPORT_FILE).write_text(f'<meta name="drawn-from" content="{source}">')
    return tmp_path


def test_what_was_drawn_from_the_same_runs_is_up_to_date(folder, findings):
    assert is_up_to_date(folder, drawn_from(findings, folder), [folder / "picture.png"])


def test_other_runs_or_another_config_ask_for_other_pictures(folder, findings):
    here = [folder / "picture.png"]
    findings.runs.loc[3, "loss"] += 1e-9
    assert not is_up_to_date(folder, drawn_from(findings, folder), here)
    findings.runs.loc[3, "loss"] -= 1e-9
    (folder / "config.yaml").write_text(dump_config(CONFIG.changed(name="another")))
    assert not is_up_to_date(folder, drawn_from(findings, folder), here)


def test_a_picture_that_is_gone_or_was_written_by_someone_else_is_drawn_anew(folder, findings):
    source, picture = drawn_from(findings, folder), folder / "picture.png"
    later = (folder / REPORT_FILE).stat().st_mtime_ns + 1_000_000
    os.utime(picture, ns=(later, later))
    assert not is_up_to_date(folder, source, [picture])
    picture.unlink()
    assert not is_up_to_date(folder, source, [picture])


def test_without_a_report_nothing_is_up_to_date(folder, findings):
    source = drawn_from(findings, folder)
    (folder / REPORT_FILE).write_text("<html>of an older version</html>")
    assert not is_up_to_date(folder, source, [])
    (folder / REPORT_FILE).unlink()
    assert not is_up_to_date(folder, source, [])
