"""Measure the catalogue and write its table: `python tests/catalogue_table.py [--jax] [NAME ...]`.

The table stands in docs/networks.md. It takes an hour or so. What was measured stands in build/catalogue.json, so that
a run which was broken off goes on where it stopped; names, of entries or domains, are measured anew. With `--jax` the
oracle is JAX for these, otherwise only where TensorFlow cannot compute a network in float64.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "catalogue.json"
PAGE = ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- catalogue: written by tests/catalogue_table.py -->", "<!-- end of the catalogue -->"


def measure(name: str, jax) -> dict[str, object]:
    """What the project and an oracle find of an entry."""
    import keras
    from catalogue import in_differences
    from catalogue.architecture import ARCHITECTURES, built
    from catalogue.measuring import measured

    problem = built(name)
    weights = problem.network.get_weights()
    size = problem.network.count_params()
    found = measured(problem)
    row = {"domain": ARCHITECTURES[name].domain, "weights": size, **found._asdict(), "oracle": None, "of": ""}
    if not found.refusal and (jax or ARCHITECTURES[name].in_double):
        row["of"] = "JAX" if jax else "differences"
        _, row["oracle"] = (jax or in_differences).largest_eigenvalue(name, weights)
    keras.backend.clear_session()
    return row


def table(rows: dict[str, dict], missing: int) -> str:
    """The results in Markdown."""
    lines = ["| architecture | weights | sharpness | oracle | relative error | of | seconds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for name, row in rows.items():
        if row["refusal"]:
            lines.append(f"| {name} | {row['weights']:,} | refused | | | | |")
            continue
        error = abs(row["sharpness"] / row["oracle"] - 1) if row["oracle"] else float("nan")
        seconds = "" if row["seconds"] != row["seconds"] else f"{row['seconds']:.0f}"
        numbers = f"{row['sharpness']:.6g} | {row['oracle']:.6g} | {_small(error)} | {row['of']} | {seconds}"
        lines.append(f"| {name} | {row['weights']:,} | {numbers} |")
    refused = [f"- `{name}`: {row['refusal']}" for name, row in rows.items() if row["refusal"]]
    right = sum(abs(row["sharpness"] / row["oracle"] - 1) < 1e-3 for row in rows.values() if row["oracle"])
    doubtful = [f"`{name}`" for name, row in rows.items() if row["oracle"] and not row["converged"]]
    count = f"Of {len(rows)}, {right} are measured within 1e-3 of the oracle, and {len(refused)} refused in words:"
    if missing:
        count = f"{missing} more have not been measured here.\n\n{count}"
    said = "Said not to have converged, as rounding in float32 may move them by more than 1e-3: " + (
        ", ".join(doubtful) or "none"
    )
    return "\n\n".join([count, "\n".join(refused), f"{said}.", "\n".join(lines)])


def _small(error: float) -> str:
    return f"{error:.0e}" if error >= 1e-6 else "below 1e-6"


def write(rows: dict[str, dict], missing: int) -> None:
    """Put the table between its two marks in the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows, missing)}\n\n{END}{after}")


def main(arguments: list[str]) -> None:
    """Measure what is asked for or missing, and write the table."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import catalogue.all  # noqa: F401
    from catalogue.architecture import ARCHITECTURES
    from catalogue.measuring import Jax, has_jax

    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    everywhere, asked = "--jax" in arguments, [each for each in arguments if not each.startswith("--")]
    with Jax() if has_jax() else contextlib.nullcontext() as jax:
        for name, entry in ARCHITECTURES.items():
            if not ({name, entry.domain} & set(asked) if asked else name not in rows):
                continue
            rows[name] = measure(name, jax if everywhere or not entry.in_double else None)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(rows, indent=1))
            print(
                name, *(f"{key}={rows[name][key]}" for key in ("sharpness", "oracle", "seconds", "refusal")), flush=True
            )
    write({name: rows[name] for name in ARCHITECTURES if name in rows}, sum(name not in rows for name in ARCHITECTURES))


if __name__ == "__main__":
    main(sys.argv[1:])
