"""Examples that the help of the commands ends with."""

from __future__ import annotations

_EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("phases run quickstart", "a first phase diagram, in half a minute"),
        ("phases COMMAND --help", "what a command takes, with examples"),
        ("phases --install-completion", "have the shell complete commands, configs and folders"),
    ),
    "run": (
        ("phases run quickstart", "a shipped config; `phases configs` lists them"),
        ("phases run my.yaml -s loss=xent -s sweep.widths=[64,128]", "your own, with keys overridden"),
        ("phases run quickstart --output outputs/other --quiet", "elsewhere, without progress"),
        ("phases run my.yaml --shard 3/8", "the third of eight jobs that share a folder"),
    ),
    "plan": (
        ("phases plan paper/fcn", "how long it takes on this machine"),
        ("phases plan paper/fcn --tflops 67", "on a device of that rate"),
        ("phases plan quickstart --json - | jq .seconds", "as JSON"),
    ),
    "advise": (
        ("phases advise quickstart -s sweep.widths=[64]", "a rate for each network of a config"),
        ("phases advise mine:model --data mine:data", "for a model of your own, from mine.py in this folder"),
        ("phases advise mine:model --data mine:data --learning-rate 0.5", "is it the rate that goes wrong?"),
    ),
    "analyze": (
        ("phases analyze outputs/quickstart", "tables and pictures anew"),
        ("phases analyze outputs/quickstart --json -", "every constant as JSON"),
    ),
    "sharpness": (
        ("phases sharpness quickstart -s sweep.seeds=1", "lambda_0 of one initialisation of each network"),
        ("phases sharpness quickstart --json sharpness.json", "into a file, too"),
    ),
    "uv": (
        ("phases uv -s sweep.widths=[8,64] -s sweep.seeds=3", "fewer networks"),
        ("phases uv --target", "the bifurcation diagram beyond the edge of stability, on the example (1, 1)"),
        ("phases uv --target 2.5 --output outputs/other", "on (1, 2.5), elsewhere"),
    ),
    "compare": (
        ("phases compare outputs/quickstart outputs/xent --output both.pdf", "two experiments"),
        ("phases compare outputs/* --over width", "all, each over 1/width"),
    ),
    "plot": (
        ("phases plot outputs/quickstart --style paper", "the phase diagram for a column of a paper (PDF)"),
        ("phases plot outputs/quickstart --over ratio --output ratio.svg", "over depth/width"),
        ("phases plot outputs/quickstart --kind trajectories --seed 1 --style wide", "one initialisation, two columns"),
    ),
    "board": (
        ("phases board outputs/quickstart", "on the first free port from 6006 on"),
        ("phases board outputs/quickstart --port 7000", "on this one"),
    ),
    "audit": (
        ("phases audit quickstart", "a tenth of what outputs/quickstart holds"),
        ("phases audit my.yaml --share 0.01 --json -", "a hundredth, as JSON"),
    ),
    "configs": (("phases configs", "names that every command takes as CONFIG"),),
    "bench": (
        ("phases bench --seeds 3", "the quickstart, three initialisations of each network"),
        ("phases bench laptop/fcn_xent --json bench.json", "another config, figures into a file"),
        ("phases bench advice --seeds 5", "the advice on learning rates against learning-rate finders"),
    ),
    "scaling": (("phases scaling --over width=64,256,1024 --over depth=2,4", "along two axes"),),
    "precision": (("phases precision quickstart -s sweep.seeds=1", "one initialisation of each network"),),
}


def examples(command: str) -> str | None:
    """Examples of a command for the end of its help.

    Args:
        command: Its name; empty for the program.

    Returns:
        A paragraph for each; None if there are none.
    """
    lines = [f"{line}\n    # {meaning}".replace("[", r"\[") for line, meaning in _EXAMPLES.get(command, ())]
    return "\n\n".join(["Examples:", *lines]) if lines else None
