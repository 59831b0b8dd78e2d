"""What the README shows, runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["own data and model", "classes"])
def test_the_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_files_that_it_links_to_are_there():
    for target in re.findall(r"\]\(([^):]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
