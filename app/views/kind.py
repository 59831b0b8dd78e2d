"""What an entry of the list of pictures is; the list itself is `sharpness_phases.views.pictures.PICTURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from sharpness_phases.analysis.findings import Findings
    from sharpness_phases.views.style import Picture

Section: TypeAlias = Literal["diagram", "trajectories", "regimes", "pictures"]
"""The sections of the report that show pictures; "pictures" has all that have no section of their own."""


class Choice(NamedTuple):
    """What can be chosen of a picture.

    Attributes:
        over: Vertical axis of the phase diagram: "width", "depth" or "ratio"; None for its own choice.
        seed: Which initialisation is shown, where single ones are; None for the first.
    """

    over: str | None = None
    seed: int | None = None


class File(NamedTuple):
    """A file that `phases run` draws.

    Attributes:
        name: Of the file, without its ending; also of the picture in TensorBoard.
        caption: In the report.
        choice: What is chosen in it.
        vector: Whether it is drawn as SVG, too, which is sharp at every size.
        with_depths: Whether it needs networks of several depths.
        place: The line of the console that names the file, such as "Regimes"; None where `phases run` does not name it.
        section: The section of the report that shows it.
    """

    name: str
    caption: str
    choice: Choice = Choice()
    vector: bool = False
    with_depths: bool = False
    place: str | None = None
    section: Section = "pictures"

    def paths(self, folder: Path) -> list[Path]:
        """Its files in the folder of an experiment: the PNG, and the SVG if it has one."""
        return [folder / f"{self.name}{ending}" for ending in ((".png", ".svg") if self.vector else (".png",))]


class Table(NamedTuple):
    """A table that `phases run` writes beside a picture.

    Attributes:
        name: Of the file.
        of: The table of an experiment.
    """

    name: str
    of: Callable[[Findings], pd.DataFrame]


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Attributes:
        name: As `phases plot --kind` takes it.
        files: What `phases run` draws of it.
        lacks: What the runs lack for it, for people; None if it can be drawn.
        draw: The picture of an experiment, with what is chosen.
        on_request: Whether it shows what a config has to ask for. `phases plot` names such kinds last.
        has_axis: Whether `Choice.over` means something for it.
        seeds: The initialisations of which one can be shown; None where it shows all at once.
        shows_constants: Whether its text for those who cannot see it lists the mean constants.
        table: The table that is written where the picture is drawn; None if there is none.
        along: Whether it shows what an experiment along `sweep.over` says of all its values.
    """

    name: str
    files: tuple[File, ...]
    lacks: Callable[[Findings], str | None]
    draw: Callable[[Findings, Choice], Picture]
    on_request: bool = False
    has_axis: bool = False
    seeds: Callable[[Findings], set[int]] | None = None
    shows_constants: bool = False
    table: Table | None = None
    along: bool = False

    def drawn(self, findings: Findings) -> list[File]:
        """The files that `phases run` draws of an experiment."""
        along = bool(findings.config.sweep.over)
        if (along and not self.along) or self.lacks(findings) is not None:
            return []
        if along:
            return [file for file in self.files if file.choice.over is None]
        several = len(findings.config.sweep.depths) > 1
        return [file for file in self.files if several or not file.with_depths]

    def paths(self, folder: Path) -> list[Path]:
        """All its files in the folder of an experiment, whether or not they are there."""
        beside = [] if self.table is None else [folder / self.table.name]
        return [path for file in self.files for path in file.paths(folder)] + beside
