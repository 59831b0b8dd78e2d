import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import tables
from made_up import trajectory

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.regimes import Regime
from sharpness_phases.analysis.tables import summary_table
from sharpness_phases.config.loading import load_config
from sharpness_phases.views.by_network import written
from sharpness_phases.views.diagram import PhaseDiagram
from sharpness_phases.views.report import chart
from sharpness_phases.views.report import tables as report_tables
from sharpness_phases.views.report.page import Report, write_report
from sharpness_phases.views.trajectories import TrajectoryFigure

EVIL = '</code></script><script>alert("x")</script><img src=x onerror=alert(1)>'
LABELS = ["depth", "width", "seed", "c", "run_id", "regime", "start", "stop"]


class Page(HTMLParser):
    """What a browser makes of a page: elements with attributes, texts of the elements of each kind, rows of tables."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text()
        self.elements, self.texts, self.rows, self._open = [], {}, [], []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag  # every element is closed in order
        if tag in ("td", "th"):
            self.rows[-1].append(self.texts[tag][-1])

    def handle_data(self, data):
        for tag in self._open:
            self.texts[tag][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self):
        return json.loads(re.search(r'id="chart-data">(.*?)</script>', self.source, re.DOTALL)[1])


CONFIG = load_config("quickstart", ["sweep.depths=[2,4]", "sweep.widths=[8,16,32]", "sweep.seeds=3"])


class MadeUp(Findings):
    """Findings of made-up runs, some of whose tables a test dictates."""

    title = "FCN, ReLU, MSE on made_up"

    def __init__(self, runs, config, constants, regimes, violations):
        super().__init__(runs, config)
        self.dictated = {"constants": constants, "regimes": regimes, "violations": violations}

    def critical_constants(self):
        return self.dictated["constants"]

    @property
    def summary(self):
        return summary_table(self.dictated["constants"])

    def regime_table(self, settings=None):
        return self.dictated["regimes"]

    def violations(self):
        return self.dictated["constants"].head(self.dictated["violations"])


def report(
    pictures, runs=None, config=CONFIG, constants=None, regimes=None, violations=0, environment=None, title=None
):
    findings = MadeUp(
        tables.runs() if runs is None else runs,
        config,
        tables.constants() if constants is None else constants,
        pd.DataFrame(columns=LABELS) if regimes is None else regimes,
        violations,
    )
    if title is not None:
        findings.title = title
    return Report(findings, pictures, {"keras": "3.15.1", "device": "CPU"} if environment is None else environment)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    diagram = PhaseDiagram(tables.summary())
    diagram.save(folder / "phase_diagram.svg")
    return {
        "phase_diagram": diagram.save(folder / "phase_diagram.png"),
        "trajectories": TrajectoryFigure(tables.trajectories()).save(folder / "trajectories.png"),
    }


@pytest.fixture
def page(tmp_path, pictures):
    return lambda **changes: Page(write_report(tmp_path / "report.html", report(**({"pictures": pictures} | changes))))


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures):
    """The page of findings without changes."""
    return Page(write_report(tmp_path_factory.mktemp("page") / "report.html", report(pictures)))


def test_the_page_needs_no_other_file_and_no_network(made):
    fetched = [a[name] for _, a in made.elements for name in ("src", "href", "srcset", "data") if name in a]
    assert len(fetched) > 3
    assert all(address.startswith(("data:", "#")) for address in fetched)
    assert "@import" not in made.source
    assert not re.search(r"url\((?!#)", made.texts["style"][0])


def test_headings_lead_through_the_page_and_every_link_has_its_place(made):
    assert len(made.texts["h1"]) == 1
    expected = ["What was run", "Phase diagram", "Critical constants", "Trajectories", "Cost", "Versions and device"]
    assert made.texts["h2"] == [*expected, "Config"]
    places = {attributes.get("id") for _, attributes in made.elements}
    assert {a["href"][1:] for a in made.all("a")} <= places
    assert {a["aria-labelledby"] for a in made.all("section")} <= places


def test_pictures_have_texts_for_those_who_cannot_see_them(made):
    images = made.all("img")
    assert len(images) == 2
    place = tables.summary().set_index(["depth", "width", "constant"])["boundary"].loc[(4, 8, "c_loss")]
    assert f"depth 4, width 8: c_loss {place:.3g}" in images[0]["alt"]
    assert "Loss and sharpness over the steps" in images[1]["alt"]


def test_without_javascript_there_is_a_picture_of_the_trajectories(made):
    source = made.source
    assert 'src="data:image/png' in re.search(r"<noscript>(.*?)</noscript>", source, re.DOTALL)[1]
    assert '<div id="chart" hidden>' in source


def test_constants_have_means_quartiles_and_censored_counts(page):
    constants = tables.constants()
    constants.loc[constants["seed"] == 0, ["c_max", "c_max_censored"]] = (np.nan, "high")
    summary = summary_table(constants)
    row = summary.set_index(["depth", "width", "constant"]).loc[(2, 16)]
    places = ("boundary", "boundary_q25", "boundary_q75")
    c_loss, c_max = (
        "{}{}–{}".format(*(written(row.loc[name, place]) for place in places)) for name in ("c_loss", "c_max")
    )
    (found,) = (cells for cells in page(constants=constants).rows if cells[:3] == ["2", "16", "3"])
    # lambda_0 is 1: the learning rate of each c is c.
    assert (found[3], found[4]) == ("1", f"{c_loss}η {row.loc['c_loss', 'boundary']:.3g}")
    assert found[6] == f"{c_max}η {row.loc['c_max', 'boundary']:.3g}1 high"


def test_tables_have_captions_and_their_rows_have_headers(made):
    assert len(made.texts["caption"]) == len(made.all("table")) == 3
    assert all(made.texts["caption"])
    rows = [a for a in made.all("th") if a.get("scope") == "row"]
    assert len(rows) == 6 * 2 + 18 * 3 + 7 * 2
    assert {a.get("scope") for a in made.all("th")} == {"row", "col"}


def test_the_learning_rate_stands_beside_every_c(made):
    (found,) = (cells for cells in made.rows if cells[:3] == ["2", "8", "0"])
    assert found[5] == "4η 4"
    assert {i["rate_per_c"] for i in made.data["initialisations"]} == {1.0}


def test_nothing_is_joined_where_nothing_was_measured(page):
    runs = tables.runs(depths=(2,), widths=(8,), seeds=1)
    runs.loc[runs["step"].between(2, 8), "sharpness"] = np.nan
    shown = page(runs=runs).data["initialisations"][0]["runs"]
    assert [run["apart"] for run in shown[:7]] == [[9]] * 7


def test_only_constants_that_were_asked_for_have_columns(made):
    headings = made.texts["th"]
    assert "closs" in headings
    assert "ccrit" not in headings


def test_an_unusual_order_of_constants_is_told(page, made):
    assert "In 2 of 18 initialisations the usual order" in page(violations=2).source
    assert "usual order" not in made.source


def test_what_was_computed_is_counted_by_network(made):
    runs = tables.runs()
    total = (f"{runs['run_id'].nunique():,}", f"{(runs['step'] > 0).sum():,}", f"{runs['hvps'].sum():,}")
    assert ["all", "", *total] in made.rows


def test_the_chart_has_what_was_measured(made):
    runs = tables.trajectories().set_index(["depth", "width", "seed", "lr_exponent"]).sort_index()
    found = {
        (i["depth"], i["width"], i["seed"], run["x"]): run for i in made.data["initialisations"] for run in i["runs"]
    }
    assert set(found) == set(runs.index)
    for key, run in found.items():
        for name in ("loss", "sharpness"):
            values = [np.nan if value is None else value for value in run[name]]
            assert values == pytest.approx(runs.loc[[key], name].tolist(), rel=1e-3, nan_ok=True)


def test_every_run_tells_its_phase_by_the_constants_of_its_initialisation(made):
    runs = next(i for i in made.data["initialisations"] if (i["depth"], i["width"], i["seed"]) == (2, 8, 0))["runs"]
    names = ["sharpness reduction"] * 4 + ["loss catapult"] + ["loss and sharpness catapult"] * 2 + ["divergent"]
    assert [run["phase"] for run in runs] == names


def test_without_complete_searches_the_page_says_so_and_shows_the_runs(page):
    none = tables.constants().iloc[:0]
    made = page(constants=none, pictures={})
    assert "No initialisation's search is complete." in " ".join(made.texts["p"])
    assert {run["phase"] for i in made.data["initialisations"] for run in i["runs"]} == {"unknown"}


def test_without_trained_runs_there_is_a_page(page):
    made = page(runs=tables.runs().query("step < 0"), pictures={})
    assert "No run has been trained yet." in " ".join(made.texts["p"])


def test_of_very_many_runs_the_first_initialisations_are_in_the_page_and_it_is_said(page, monkeypatch):
    monkeypatch.setattr(chart, "MAX_POINTS", 700)
    made = page()
    shown = [(i["seed"], i["depth"], i["width"]) for i in made.data["initialisations"]]
    assert sorted(shown) == [(0, d, w) for d in (2, 4) for w in (8, 16, 32)] + [(1, 2, 8), (1, 2, 16)]
    assert "trajectories of 8 of 18 initialisations" in " ".join(made.texts["p"])


def test_long_runs_are_thinned_and_keep_the_steps_where_the_sharpness_was_measured(page):
    sharpness = np.full(5001, np.nan)
    sharpness[::100] = np.linspace(1, 3, 51)
    runs = tables.rows(trajectory(np.linspace(1, 0.1, 5001), sharpness), 2, 8, 0, 0.5)
    made = page(runs=runs)
    (run,) = made.data["initialisations"][0]["runs"]
    assert len(run["steps"]) == len(run["loss"]) <= chart.MAX_STEPS
    assert (run["steps"][:5], run["steps"][-1]) == ([0, 1, 2, 3, 4], 5000)
    assert [step for step, value in zip(run["steps"], run["sharpness"], strict=True) if value] == list(
        range(0, 5001, 100)
    )
    assert "ever sparser" in " ".join(made.texts["p"])


def test_regimes_of_long_runs_stand_in_a_table(page):
    rows = [
        (2, 8, 0, 2.0, "a", Regime.EARLY_TRANSIENT.value, 0, 9),
        (2, 8, 0, 2.0, "a", Regime.EDGE_OF_STABILITY.value, 9, 99),
        (2, 8, 1, 4.0, "b", Regime.DIVERGENT.value, 0, 9),
    ]
    made = page(regimes=pd.DataFrame(rows, columns=LABELS))
    assert "Regimes of long runs" in made.texts["h2"]
    assert ["2", "8", "0", "2", "–", "", "0", "9", "–"] in made.rows
    assert ["2", "8", "1", "4", "–", "", "–", "–", "0"] in made.rows
    widths = [float(x) for x in re.findall(r"width:([\d.]+)%", made.source)]
    assert widths == pytest.approx([50, 50, 100])  # log(1 + 9) is half of log(1 + 99)


def test_long_tables_end_and_say_where_the_rest_is(page, monkeypatch):
    monkeypatch.setattr(report_tables, "MAX_ROWS", 5)
    assert "The first 5 of 18 initialisations; critical_constants.csv has them all" in page().source


def test_what_users_and_machines_name_is_text_and_never_html(page):
    evil = load_config("quickstart").changed(name=EVIL, loss=EVIL)
    runs = tables.runs().assign(dataset=EVIL, loss_name=EVIL, family=EVIL)
    made = page(title=EVIL, config=evil, environment={EVIL: EVIL}, runs=runs)
    assert len(made.all("script")) == 2
    assert not [a for a in made.all("img") if a["src"] == "x"]
    assert made.texts["h1"] == [EVIL]
    assert EVIL in made.texts["dd"]


def test_data_within_a_script_cannot_end_it():
    text = chart.json_for_html({"name": EVIL})
    assert "<" not in text
    assert json.loads(text) == {"name": EVIL}


@pytest.mark.slow
def test_equal_findings_give_an_equal_file(tmp_path, pictures):
    pages = [write_report(tmp_path / name, report(pictures)).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_the_config_in_the_page_can_be_run(tmp_path, made):
    (tmp_path / "again.yaml").write_text(made.texts["pre"][0])
    again = load_config(tmp_path / "again.yaml")
    assert again.sweep.widths == [8, 16, 32]
    assert again.environment is None
