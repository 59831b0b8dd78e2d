"""Every command and code block of the README and of docs/ runs.

A block after `<!-- file: NAME -->` is written to that file; one after `<!-- not run: REASON -->` is left out. One after
`<!-- takes minutes: REASON -->` or `<!-- needs: PACKAGE -->` stands alone, and is run among the long tests. `phases`
commands on shipped configs are made small by overrides, and run in this process; blocks of a page run in order.
"""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from tiny import TINY

from sharpness_phases.commands.main import app
from sharpness_phases.config.loading import shipped_configs

pytestmark = pytest.mark.usefixtures("kept_networks")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (file|not run|takes minutes|needs): (.+?) -->\n+)?```(\w+)\n(.*?)```", re.DOTALL)
ALONE = ("takes minutes", "needs")
SMALL = [*TINY, "sweep.widths=[8]", "executor={}", "data.dataset=fashion_mnist_subset", "data.data_dir=null"]
UV = ["sweep.widths=[8]", "sweep.seeds=1", "sweep.lr_exponents.stop=2.5"]
TAKES_A_CONFIG = ("run", "plan", "advise", "sharpness", "audit", "bench", "scaling", "precision", "uv")
ELSEWHERE = (
    "make ",
    "tensorboard ",
    "pip ",
    "python -m sharpness_phases.bench.",
    "source ",
    "phases board ",
    "phases uv --target",  # which tests/app/commands/test_uv.py runs
    "phases --install-",
)


def made_small(words):
    """The arguments of a command, so that it takes seconds."""
    command, *others = words
    if command not in TAKES_A_CONFIG:
        return words
    if others and others[0].endswith(".yaml"):
        return [*words, *(word for text in TINY for word in ("-s", text)), "-s", "sweep.widths=[4,8]"]
    named = bool(others) and others[0] in shipped_configs()
    overrides = UV if command == "uv" else SMALL
    if command == "run" and "--output" not in words and others[0] != "quickstart":
        others += ["--output", "outputs/elsewhere"]
    if command == "scaling":
        others = ["--over", "width=8,16"]
    shown = [command, *others] if named or command in ("bench", "scaling", "precision", "uv") else words
    return [*shown, *(word for text in overrides for word in ("-s", text))]


def run_command(line):
    """Run one line of a shell block."""
    words = shlex.split(line, comments=True)
    if not words or line.startswith(ELSEWHERE):
        return
    assert words[0] == "phases", f"what is this command? {line}"
    try:
        typer.main.get_command(app).main(made_small(words[1:]), prog_name="phases", standalone_mode=False)
    except SystemExit as end:
        assert not end.code, line


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_models", raising=False)  # that of another page
    names = {}
    for mark, what, language, text in BLOCK.findall(page.read_text()):
        if mark in ("not run", *ALONE):
            continue
        if mark == "file":
            (tmp_path / what).write_text(text)
        elif language == "python":
            exec(compile(text, page.name, "exec"), names)
        elif language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                run_command(line)


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_block_that_stands_alone_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for mark, what, _, text in BLOCK.findall(page.read_text()):
        if mark in ALONE and (mark != "needs" or importlib.util.find_spec(what)):
            exec(compile(text, f"{page.name}: {what}", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_what_is_made_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(
            re.findall(r"`?make ([a-z-]+)`?", " ".join(re.findall(r"`[^`]*`|```.*?```", page.read_text(), re.DOTALL)))
        )
        assert named <= targets, page
