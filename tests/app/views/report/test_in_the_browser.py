"""The report and TensorBoard as readers see them: in a real browser, of a small experiment that was really run."""

import re

import pytest
from browser import addresses, browser, complaints, tensorboard, text, wait
from tiny import TINY

from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.config.loading import load_config
from sharpness_phases.experiment import Experiment
from sharpness_phases.views.by_network import written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with browser():  # nothing is run where there is no browser to look with
        pass
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    Experiment.from_config("quickstart", [*TINY, "sweep.depths=[2,3]"], folder).run()
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def board(folder):
    with tensorboard(folder / "tensorboard") as address:
        yield address


@pytest.fixture(scope="module")
def driver(folder):
    with browser(width=1500) as driver:
        yield driver


def see(driver, address, what):
    """Open a page anew and wait until all of these texts are on it; return all its texts."""
    driver.get("about:blank")
    driver.get(address)

    def lines(driver):
        found = text(driver).splitlines()
        return found if set(what) <= set(found) else None

    return wait(driver, lines, missing=lambda: text(driver))


def element(driver, selector):
    return driver.find_element("css selector", selector)


def color(driver, selector, name="color"):
    script = "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])"
    return driver.execute_script(script, selector, name)


def choose(driver, name, value):
    from selenium.webdriver.support.ui import Select

    Select(element(driver, f"#choose-{name}")).select_by_visible_text(str(value))


def hover(driver, selector):
    """Move the pointer onto the middle of an element."""
    from selenium.webdriver.common.action_chains import ActionChains

    found = element(driver, selector)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
    ActionChains(driver).move_to_element(found).perform()


def hover_in_the_first_panel(driver):
    """Move the pointer into the first of two panels side by side; what may follow, such as a click."""
    from selenium.webdriver.common.action_chains import ActionChains

    area = element(driver, "#phase-diagram svg")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", area)
    size = area.size
    pointer = ActionChains(driver)
    pointer.move_to_element_with_offset(area, -int(0.2 * size["width"]), -int(0.15 * size["height"])).perform()
    return ActionChains(driver)


def test_the_report_opens_without_complaints_and_without_the_network(driver, report):
    addresses(driver)
    driver.get(report)
    assert driver.title == "quickstart: report"
    assert {address.partition(":")[0] for address in addresses(driver)} <= {"file", "data"}
    assert complaints(driver) == []
    sizes = driver.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert sizes
    assert min(sizes) > 100


def test_another_network_shows_other_runs_and_its_constants(driver, report, folder):
    constants = PhaseAnalyzer.load(folder).critical_constants().set_index(["depth", "width", "seed"])
    driver.get(report)
    lines = "return [...document.querySelectorAll('polyline')].map((line) => line.getAttribute('points')).join()"
    seen = set()
    for depth in (2, 3):
        for width in (8, 16):
            choose(driver, "depth", depth)
            choose(driver, "width", width)
            c_loss = constants.loc[(depth, width, 0), "c_loss"]
            assert f"closs = {c_loss:.3g}" in element(driver, "#chosen-constants").text.replace("\n", "")
            seen.add(driver.execute_script(lines))
    assert len(seen) == 4


def test_pointing_at_a_line_shows_its_values(driver, report):
    driver.get(report)
    assert not element(driver, "#values").is_displayed()
    hover(driver, "#chart circle.run")
    values = element(driver, "#values").text
    assert "c = 2^" in values
    assert "step 0" in values
    assert "λ / λ₀ 1" in values
    assert len(driver.find_elements("css selector", ".faded .chosen")) > 0
    hover(driver, "h1")
    assert not element(driver, "#values").is_displayed()


def test_pointing_at_the_phase_diagram_shows_constants_phase_and_runs_and_a_click_leads_to_the_trajectories(
    driver, report, folder
):
    analyzer = PhaseAnalyzer.load(folder)
    driver.get(report)
    hover_in_the_first_panel(driver)
    told = element(driver, "#phase-diagram .values").text
    depth, width = (int(word) for word in told.splitlines()[0].replace(",", "").split()[1::2])
    assert (depth, width) in {(2, 8), (2, 16), (3, 8), (3, 16)}
    c, phase = re.search(r"c = ([\d.e+-]+), η = [\d.e+-]+: (.*)", told).groups()
    assert str(analyzer.phase(float(c), depth, width)) == phase
    place = analyzer.summary.set_index(["depth", "width", "constant"])["boundary"].loc[(depth, width, "c_max")]
    assert f"cmax = {written(place)}" in told
    assert re.search(r"\d+ initialisations?, \d+ runs", told)
    hover_in_the_first_panel(driver).click().perform()
    chosen = {name: element(driver, f"#choose-{name}").get_attribute("value") for name in ("depth", "width")}
    assert chosen == {"depth": str(depth), "width": str(width)}
    assert element(driver, "#values").is_displayed()
    assert driver.execute_script("return document.getElementById('chart').getBoundingClientRect().top < innerHeight")
    assert complaints(driver) == []


def test_arrow_keys_read_the_phase_diagram_and_enter_leads_to_the_trajectories(driver, report):
    driver.get(report)
    area = element(driver, "#phase-diagram svg")
    area.send_keys("\ue014")  # arrow to the right
    first = element(driver, "#phase-diagram .values").text.splitlines()
    area.send_keys("\ue013")  # arrow up
    second = element(driver, "#phase-diagram .values").text.splitlines()
    assert first[0] != second[0]
    area.send_keys("\ue007")  # enter
    assert not element(driver, "#phase-diagram .values").is_displayed()
    width = second[0].rpartition(" ")[2]
    assert element(driver, "#choose-width").get_attribute("value") == width


def test_arrow_keys_read_the_values(driver, report):
    driver.get(report)
    plot = element(driver, "#chart svg")
    plot.send_keys("\ue014" * 3)  # arrow to the right
    first = element(driver, "#values").text
    assert "step 3" in first
    plot.send_keys("\ue013")  # arrow up
    assert "step 3" in element(driver, "#values").text
    assert element(driver, "#values").text.splitlines()[0] != first.splitlines()[0]
    plot.send_keys("\ue00c")  # escape
    assert not element(driver, "#values").is_displayed()


def test_the_copied_config_can_be_run(driver, report, tmp_path):
    driver.get(report)
    driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    element(driver, "#copy").click()
    wait(driver, lambda driver: element(driver, "#copy").text == "Copied")
    copied = driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    (tmp_path / "again.yaml").write_text(copied)
    assert load_config(tmp_path / "again.yaml") == load_config("quickstart", [*TINY, "sweep.depths=[2,3]"])


def test_on_a_phone_nothing_is_wider_than_the_screen(report, tmp_path):
    with browser(width=390, height=844) as driver:
        driver.get(report)
        driver.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert driver.execute_script("return document.documentElement.scrollWidth") == 390
        hover(driver, "#chart svg")
        driver.save_screenshot(str(tmp_path / "phone.png"))
        right = "return document.getElementById('values').getBoundingClientRect().right"
        assert driver.execute_script(right) <= 390
        for name in ("select", "button"):
            assert element(driver, name).size["height"] >= 40  # fingers are wide
        assert complaints(driver) == []


def test_in_the_dark_the_page_is_dark_and_lines_are_lighter_but_paper_stays_white(report, tmp_path):
    looks = {}
    for dark in (False, True):
        with browser(dark=dark) as driver:
            driver.get(report)
            driver.save_screenshot(str(tmp_path / f"dark_{dark}.png"))
            looks[dark] = [color(driver, "body", "background-color"), color(driver, ".run", "stroke")]
            printed = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", printed)
            paper = [color(driver, "body", "background-color"), color(driver, ".run", "stroke")]
            assert paper == looks[False]
            assert not element(driver, "nav").is_displayed()
    assert looks[False][0] == "rgb(255, 255, 255)"
    assert looks[True][0] == "rgb(20, 23, 27)"
    assert looks[False][1] != looks[True][1]


def test_without_javascript_pictures_and_tables_are_there(report):
    with browser(scripts=False) as driver:
        driver.get(report)
        assert not element(driver, "#chart").is_displayed()
        assert not element(driver, "#copy").is_displayed()
        pictures = driver.find_elements("css selector", "img")
        assert "Loss and sharpness over the steps" in " ".join(picture.get_attribute("alt") for picture in pictures)
        assert all(picture.is_displayed() for picture in pictures)
        assert element(driver, "table").is_displayed()


def test_analysing_again_gives_an_equal_report(folder):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    Experiment.open(folder).analyze()
    assert (folder / "report.html").read_bytes() == before


def test_tensorboard_shows_the_scalars_of_every_run(driver, board, folder):
    runs = [f"d2_w8_s0/{path.name}" for path in (folder / "tensorboard" / "d2_w8_s0").iterdir()]
    assert len(runs) > 3
    cards = ["loss", "accuracy", "sharpness", "sharpness/normalized", "sharpness/threshold"]
    names = "%5E(loss%7Caccuracy%7Csharpness.*)%24"
    see(driver, f"{board}#scalars&regexInput=d2_w8_s0&tagFilter={names}", [*runs, *cards])
    see(driver, f"{board}#timeseries", [*runs, "accuracy", "constants", "loss", "result", "sharpness"])


def test_tensorboard_has_a_table_of_all_runs_with_phases_and_constants(driver, board):
    table = see(driver, f"{board}#hparams", ["Trial ID", "d2_w8_s0/c=2^0"])
    table = table[table.index("Trial ID") :]
    assert table[2:7] == ["c", "depth", "phase", "seed", "width"]
    metrics = ["final loss", "max normalized sharpness", "c_loss", "c_sharp", "c_max"]
    assert table[7:12] == metrics
    row = table[table.index("d2_w8_s0/c=2^0") :]
    assert row[1:6] == ["1.0000", "2.0000", "sharpness reduction", "0.0000", "8.0000"]


def test_tensorboard_draws_the_sharpness_and_its_threshold_in_one_chart(driver, board):
    titles = ["Sharpness and its threshold, the edge", "Sharpness, normalized: lambda_t / lambda_0", "Loss", "Accuracy"]
    lines = ["sharpness/threshold (d2_w8_s0/c=2^0)", "sharpness (d2_w8_s0/c=2^0)"]
    see(driver, f"{board}#custom_scalars&regexInput=d2_w8_s0", [*titles, *lines])


def test_tensorboard_opens_on_the_pictures(driver, board):
    lines = see(driver, board, ["Pictures", "/phase_diagram", "/trajectories", "accuracy"])
    assert lines.index("/phase_diagram") < lines.index("accuracy")
    see(driver, f"{board}#images", ["Pictures"])
