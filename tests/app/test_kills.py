"""A run killed at any moment loses nothing and leaves nothing behind."""

import os
import random
import signal
import time

import pytest
from command_line import overridden, phases, start
from tiny import TINY

TABLES = ("critical_constants.csv", "summary.json", "phase_diagram.svg")
SHORT, LONG = ["sweep.seeds=3"], ["sweep.seeds=40"]


def finished(folder):
    """The finished runs, each with what tells whether its file was ever written again."""
    entries = os.scandir(folder) if folder.exists() else []
    return {e.name: (e.inode(), e.stat().st_mtime_ns) for e in entries if not e.name.startswith(".")}


def kill_at_random(process, runs, chooser):
    """Kill within the start, or after some more runs; tell whether the process was still running."""
    if chooser.random() < 0.3:
        time.sleep(chooser.uniform(0.0, 4.0))
    else:
        enough = len(finished(runs)) + chooser.randint(0, 12)
        while process.poll() is None and len(finished(runs)) < enough:
            time.sleep(0.005)
        time.sleep(chooser.uniform(0.0, 0.1))
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


@pytest.mark.parametrize(
    ("kills", "redraws", "size"),
    [pytest.param(1, 1, SHORT, marks=pytest.mark.slow), pytest.param(48, 12, LONG, marks=pytest.mark.long)],
    ids=["2 times", "60 times"],
)
def test_runs_killed_at_random_moments_end_like_an_undisturbed_one(kills, redraws, size, tmp_path, figure):
    arguments = ["run", "quickstart", *overridden([*TINY, *size])]
    assert phases(*arguments, "--output", "undisturbed", folder=tmp_path).returncode == 0
    runs, seen, killed = tmp_path / "killed" / "runs", {}, 0
    chooser = random.Random(kills)
    for _ in range(kills):
        killed += kill_at_random(start(*arguments, "--output", "killed", folder=tmp_path), runs, chooser)
        for name, identity in finished(runs).items():
            assert seen.setdefault(name, identity) == identity, f"{name} was computed again"
    assert phases(*arguments, "--output", "killed", folder=tmp_path).returncode == 0
    for _ in range(redraws):  # nothing is missing now: within analysis and drawing
        process = start(*arguments, "--output", "killed", folder=tmp_path)
        time.sleep(chooser.uniform(0.5, 5.0))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert phases(*arguments, "--output", "killed", folder=tmp_path).returncode == 0
    assert seen.items() <= finished(runs).items()
    for name in TABLES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    left, expected = (
        sorted(
            os.path.relpath(path, tmp_path / name)
            for path in (tmp_path / name).rglob("*")
            if path.is_file() and "tfevents" not in path.name
        )
        for name in ("killed", "undisturbed")
    )
    assert left == expected
    figure(f"{killed} of {kills + redraws} kills hit a running process; {len(expected)} files as undisturbed")
