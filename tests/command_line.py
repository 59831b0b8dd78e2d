"""`phases` in a process of its own, as users and their machines treat it, and in this one, where that is no matter."""

import io
import logging
import os
import signal
import subprocess
import sys
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from sharpness_phases.commands.main import main


def phases(*arguments, folder, **options):
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sharpness_phases", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def phases_here(*arguments, folder):
    """Run a command to its end in this process, which spares the imports; the result is that of `phases`."""
    out, err, words = io.StringIO(), io.StringIO(), ["phases", *map(str, arguments)]
    with (
        _as_a_process_of_its_own(words, folder),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return subprocess.CompletedProcess(words, end.value.code, out.getvalue(), err.getvalue())


@contextmanager
def _as_a_process_of_its_own(words, folder):
    """Arguments and current folder of a process; how a command makes this one log is undone."""
    loggers = [logging.getLogger(name) for name in ("sharpness_phases", "tensorflow")]
    saved = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    try:
        with chdir(folder), patch.object(sys, "argv", words):
            yield
    finally:
        for logger, handlers, level, propagate in saved:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def start(*arguments, folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE):
    """Start a command; messages can be read from its `stderr`."""
    return subprocess.Popen(
        [sys.executable, "-m", "sharpness_phases", *map(str, arguments)],
        cwd=folder,
        stdout=stdout,
        stderr=stderr,
        text=True,
        env=os.environ,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c():
    """A process that is started in the background of a shell ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def overridden(overrides):
    """The arguments for a list of overrides."""
    return [word for override in overrides for word in ("-s", override)]
