"""`phases` in a process of its own, as users and their machines treat it."""

import os
import signal
import subprocess
import sys


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
