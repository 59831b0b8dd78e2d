"""A headless Chromium for tests, and a TensorBoard to look at with it."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

PATIENCE = 60  # seconds until something that is awaited counts as missing


@contextmanager
def browser(width=1280, height=1000, dark=False, scripts=True):
    """A Selenium driver; skips the test where Chromium, its driver or Selenium is absent."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        # The window of a headless browser has a smallest width; what pages see may be narrower, as on a phone.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield driver
    finally:
        driver.quit()


def wait(driver, what, missing=lambda: "", seconds=PATIENCE):
    """Wait until `what(driver)` is true and return it; `missing()` tells what was there instead."""
    from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        return WebDriverWait(driver, seconds, ignored_exceptions=[StaleElementReferenceException]).until(what)
    except TimeoutException:
        pytest.fail(f"not there within {seconds} s; there was: {missing()[:3000]}")


def complaints(driver):
    """What the browser's console says."""
    return [entry["message"] for entry in driver.get_log("browser")]


def addresses(driver):
    """What the page has fetched since this was last asked."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def text(driver):
    """The text of the whole page, also that within web components."""
    return driver.execute_script(
        """
        const texts = [];
        const walk = (node) => {
            if (node.nodeType === Node.TEXT_NODE) texts.push(node.data.trim());
            else if (!["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) {
                if (node.shadowRoot) walk(node.shadowRoot);
                node.childNodes.forEach(walk);
            }
        };
        walk(document.body);
        return texts.filter((text) => text).join("\\n");
        """
    )


@contextmanager
def tensorboard(folder):
    """The address of a TensorBoard that shows a folder."""
    arguments = ["--logdir", folder, "--port", "0", "--host", "localhost"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    try:
        found = None
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                break
        assert found, "TensorBoard did not start"
        yield found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
