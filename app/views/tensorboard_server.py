"""TensorBoard on an experiment's event files, for this machine only."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from sharpness_phases.errors import UserError

HOST = "localhost"


def start_tensorboard(folder: Path, port: int | None = None) -> str:
    """Start TensorBoard in a thread of this process, which ends with it.

    Args:
        folder: Folder of an experiment.
        port: Where to listen; the first free one from 6006 on by default, any free one if 0.

    Returns:
        Its address.

    Raises:
        UserError: If the folder holds no event files, or the port is taken.
    """
    events = folder / "tensorboard"
    if not any(events.rglob("events.out.tfevents.*")):
        raise UserError(
            f"{folder}: nothing to show: there are no event files in {events}. `phases run` writes them, unless "
            "the config says tensorboard: false"
        )
    from tensorboard import program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    board: Any = program.TensorBoard()
    board.configure(logdir=str(events), host=HOST, port=port)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # advice about how it reads files
            return str(board.launch())
    except program.TensorBoardServerException as error:
        where = "no port is free" if port is None else f"port {port} cannot be used"
        raise UserError(f"{folder}: {where}: {error.msg}. Choose another with --port, or 0 for any free one") from None
