from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import TINY

from sharpness_phases.analysis.tables import constants_table
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import belonging, identity
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec, cells, criteria
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep, Incomplete
from sharpness_phases.sweep.executors import build_executor, in_turn

pytestmark = pytest.mark.usefixtures("kept_networks")


def sweep(folder, *overrides):
    config = load_config("quickstart", [*TINY, *overrides])
    store = RunStore(folder, writable=True)
    computed = sum(count for _, count in build_executor(config).run(config, cells(config), store))
    return config, store, computed


def constants(config, store):
    runs = belonging(config, store.table())
    return constants_table(runs, config.sweep.lr_exponents.exponents(), criteria(config))


@pytest.fixture(scope="module")
def adaptive_sweep(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("adaptive"))


def test_every_cell_of_an_adaptive_sweep_has_its_constants(adaptive_sweep):
    config, store, computed = adaptive_sweep
    assert computed == len(store)
    assert len(constants(config, store)) == 4


def test_a_second_sweep_computes_nothing(adaptive_sweep):
    config, store, _ = adaptive_sweep
    assert sweep(store.folder)[2] == 0


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_where_it_stopped(adaptive_sweep, tmp_path):
    config, whole, total = adaptive_sweep
    names = sorted(path.name for path in whole.folder.glob("*.parquet"))
    for name in names[::2]:
        (tmp_path / name).write_bytes((whole.folder / name).read_bytes())
    config, store, computed = sweep(tmp_path)
    assert computed == total - len(names[::2])
    pd.testing.assert_frame_equal(store.table(), whole.table())


@pytest.mark.slow
def test_the_same_config_gives_the_same_bits(adaptive_sweep, tmp_path):
    _, first, _ = adaptive_sweep
    _, second, _ = sweep(tmp_path)
    pd.testing.assert_frame_equal(first.table(), second.table(), check_exact=True)


def test_another_width_or_a_longer_grid_computes_only_what_is_new(adaptive_sweep, tmp_path):
    _, whole, total = adaptive_sweep
    for path in whole.folder.glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    computed = sweep(tmp_path, "sweep.widths=[8,16,4]")[2]
    assert 0 < computed < total


def test_all_learning_rates_of_an_initialisation_share_lambda_0_and_start(adaptive_sweep):
    table = adaptive_sweep[1].table()
    first = table[table["step"] == 0]
    for _, cell in first.groupby(["width", "seed"]):
        assert cell["sharpness"].nunique() == 1
        assert cell["loss"].nunique() == 1
    trained = table[table["c"].notna()]
    np.testing.assert_allclose(
        trained["learning_rate"] * trained.groupby("run_id")["sharpness"].transform("first"), trained["c"]
    )


def test_an_exhaustive_sweep_runs_the_whole_grid_up_to_divergence(tmp_path):
    config, store, _ = sweep(tmp_path, "sweep.search=exhaustive", "sweep.widths=[8]", "sweep.seeds=1")
    runs = store.table().drop_duplicates("run_id").dropna(subset="c")
    grid = config.sweep.lr_exponents.exponents()
    assert runs["lr_exponent"].tolist() == grid[: len(runs)]
    assert runs["diverged"].tolist()[:-1] == [False] * (len(runs) - 1)
    assert runs["diverged"].iloc[-1] or len(runs) == len(grid)
    assert len(constants(config, store)) == 1


def test_adaptive_reads_the_runs_of_an_exhaustive_sweep(tmp_path):
    sweep(tmp_path, "sweep.search=exhaustive", "sweep.widths=[8]", "sweep.seeds=1")
    assert sweep(tmp_path, "sweep.widths=[8]", "sweep.seeds=1")[2] == 0


@pytest.mark.parametrize(
    "override",
    [
        pytest.param("loss=xent", marks=pytest.mark.slow),
        "training.momentum=0.5",
        pytest.param("model.activation=linear", marks=pytest.mark.slow),
        pytest.param("sharpness.solver=power", marks=pytest.mark.slow),
    ],
)
def test_other_losses_networks_and_solvers_run_too(override, tmp_path):
    config, store, _ = sweep(tmp_path, override, "sweep.widths=[8]", "sweep.seeds=1")
    assert len(constants(config, store)) == 1


def test_a_network_without_positive_curvature_is_a_users_error(tmp_path):
    config = load_config("quickstart", [*TINY, "model.output_scale=1e-45"])
    with pytest.raises(UserError, match="initial sharpness of d2_w8_s0"):
        CellSweep(config, Cell(2, 8, 0), RunStore(tmp_path)).complete()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "examples"), [([16], 64), pytest.param([32, 64], 512, marks=pytest.mark.long)], ids=["small", "large"]
)
def test_adaptive_finds_the_constants_of_the_exhaustive_grid(widths, examples, tmp_path, figure):
    """Real images, both losses; `disagreements` are counted in grid steps and printed."""
    steps = []
    for loss in ("mse", "xent"):
        tables = {}
        for search in ("adaptive", "exhaustive"):
            folder = tmp_path / f"{loss}-{search}"
            options = (
                f"loss={loss}",
                f"sweep.search={search}",
                f"sweep.widths={widths}",
                "sweep.seeds=2",
                f"sharpness.examples={examples}",
            )
            config = load_config("quickstart", options)
            store = RunStore(folder, writable=True)
            list(build_executor(config).run(config, cells(config), store))
            tables[search] = constants(config, store)
        a, e = tables["adaptive"], tables["exhaustive"]
        assert a["width"].tolist() == e["width"].tolist() == sorted(2 * widths)
        for name in ("c_loss", "c_sharp", "c_max"):
            same_side = a[f"{name}_censored"] == e[f"{name}_censored"]
            apart = np.abs(np.log2(a[name] / e[name]) / 0.1).round().fillna(0)
            steps += list(apart.where(same_side, np.inf))
    within_one = np.mean(np.array(steps) <= 1)
    figure(
        f"adaptive against exhaustive: {within_one:.1%} of {len(steps)} constants within one grid step, "
        f"{np.mean(np.array(steps) == 0):.1%} equal, largest difference {max(steps):.0f} steps"
    )
    assert within_one >= 0.95


@pytest.mark.slow
def test_c_barrier_is_found_where_the_config_asks_for_it(tmp_path):
    tables = []
    for search in ("adaptive", "exhaustive"):
        longer = "sweep.lr_exponents.stop=9"
        options = ("analysis.barrier=true", longer, f"sweep.search={search}", "sweep.widths=[8]", "sweep.seeds=1")
        config, store, _ = sweep(tmp_path / search, *options)
        tables.append(constants(config, store))
    found = tables[0][["c_barrier", "c_loss", "c_max"]]
    assert found["c_barrier"].notna().all()
    assert (found["c_barrier"] <= found["c_max"]).all()
    pd.testing.assert_frame_equal(tables[0], tables[1])


@pytest.mark.slow
def test_the_saturation_is_measured_at_every_c_up_to_divergence_at_the_step_with_c_tau(tmp_path):
    saturation = ["sweep.widths=[8]", "sweep.seeds=1", "analysis.saturation=true", "analysis.saturation_time=20.0"]
    config, store, _ = sweep(tmp_path, *saturation)
    runs = store.table()
    ends = runs[runs["question"] == "saturation"].groupby("c").last()
    kept = ends[~ends["diverged"]]
    assert (kept["step"] == np.maximum(1, np.round(20 / kept.index.to_numpy()))).all()
    assert kept["sharpness"].notna().all()
    assert ends["diverged"].sum() <= 1
    assert len(kept) >= 5
    table = constants(config, store)
    assert np.isfinite(table["c_crit"][0]) or table["c_crit_censored"][0]
    assert sweep(tmp_path, *saturation)[2] == 0


@pytest.mark.slow
def test_long_exhaustive_runs_give_the_constants_of_their_first_steps(tmp_path):
    shape = ["sweep.widths=[8]", "sweep.seeds=1", "sweep.search=exhaustive"]
    config, store, _ = sweep(tmp_path / "short", *shape)
    long = [*shape, "training.steps=12", "analysis.transient_steps=4", "sharpness.every=4"]
    long_config, long_store, _ = sweep(tmp_path / "long", *long)
    pd.testing.assert_frame_equal(constants(long_config, long_store), constants(config, store), rtol=1e-3)
    steps = long_store.table().query("c == 1.0").set_index("step")["sharpness"].notna()
    assert steps[steps].index.tolist() == [0, 1, 2, 3, 4, 8, 12]


@pytest.mark.slow
def test_xla_gives_the_same_constants(adaptive_sweep, tmp_path):
    config, store, _ = adaptive_sweep
    compiled_config, compiled, _ = sweep(tmp_path, "device.xla=always")
    pd.testing.assert_frame_equal(constants(compiled_config, compiled), constants(config, store), rtol=1e-3)
    assert set(compiled.table()["run_id"]) == set(store.table()["run_id"])


def test_a_cell_that_another_process_has_is_waited_for_and_comes_last(tmp_path, caplog):
    class Others:
        """Another process has the first cell, until one waits for it."""

        def __init__(self):
            self.events = []

        def claim(self, name):
            return name != "d2_w8_s0"

        def wait(self, name):
            self.events.append(f"wait {name}")

        def release(self, name):
            self.events.append(f"release {name}")

    caplog.set_level("INFO")
    config, others = load_config("quickstart", TINY), Others()
    found = [cell.name for cell in in_turn(cells(config), others, RunStore(tmp_path))]
    assert found == ["d2_w8_s1", "d2_w16_s0", "d2_w16_s1", "d2_w8_s0"]
    assert others.events[-2:] == ["wait d2_w8_s0", "release d2_w8_s0"]
    assert "d2_w8_s0 is being computed by another process; waiting for it" in caplog.text


def test_tensor_float_32_makes_other_runs():
    plain, rounded = (load_config("quickstart", [*TINY, *extra]) for extra in ([], ["device.tensor_float_32=true"]))
    spec = RunSpec(Cell(2, 8, 0), Purpose.WHOLE, 0.0)
    assert identity(plain, spec) != identity(rounded, spec)


def test_a_sweep_that_may_not_compute_says_whether_anything_is_missing(adaptive_sweep, tmp_path):
    config, store, _ = adaptive_sweep
    CellSweep(config, Cell(2, 8, 0), store, compute=False).complete()
    with pytest.raises(Incomplete, match="d2_w8_s0"):
        CellSweep(config, Cell(2, 8, 0), RunStore(tmp_path), compute=False).complete()


@pytest.mark.parametrize("exponent", [None, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_damaged_run_is_computed_again_with_the_same_bits(exponent, adaptive_sweep, tmp_path):
    config, whole, _ = adaptive_sweep
    for path in whole.folder.glob("*.parquet"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    asked = [Purpose.INITIAL] if exponent is None else [Purpose.ONSET, Purpose.SHARPNESS, Purpose.LOSS]
    names = [identity(config, RunSpec(Cell(2, 16, 1), purpose, exponent)) for purpose in asked]
    name = next(name for name in names if name in whole)
    (tmp_path / "runs" / f"{name}.parquet").write_bytes(b"damaged")
    _, store, computed = sweep(tmp_path / "runs")
    assert computed == 1
    pd.testing.assert_frame_equal(store.table(), whole.table(), check_exact=True)


def test_a_sharpness_that_is_not_defined_at_a_finite_loss_is_a_users_error(tmp_path, monkeypatch):
    from sharpness_phases.sweep.simulator import CellRunner

    honest = CellRunner.trajectory

    def undefined(self, spec):
        run = honest(self, spec)
        return replace(run, sharpness=np.where(np.arange(len(run.sharpness)) > 0, np.nan, run.sharpness))

    monkeypatch.setattr(CellRunner, "trajectory", undefined)
    with pytest.raises(UserError, match="d2_w8_s0: at c = 1 the sharpness is not a number while the loss is finite"):
        sweep(tmp_path, "sweep.widths=[8]", "sweep.seeds=1")


OWN = """
import keras
import numpy as np

def mlp(width, depth, input_shape, classes, seed, policy=POLICY):
    start = keras.initializers.RandomNormal(stddev=0.1, seed=SEED)
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(width, activation="tanh", kernel_initializer=start, dtype=policy),
        keras.layers.Dense(classes, kernel_initializer=start, dtype=policy),
    ])

def summed(y, outputs):
    return keras.ops.sum(keras.ops.square(y - outputs))
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """Writes own code into the current folder; each has a module of its own."""
    monkeypatch.chdir(tmp_path)

    def write(name, seed="seed", policy="'float32'"):
        (tmp_path / f"{name}.py").write_text(OWN.replace("SEED", seed).replace("POLICY", policy))
        return ["sweep.widths=[8]", "sweep.seeds=1", f"model={{family: '{name}:mlp'}}"]

    return write


@pytest.mark.slow
def test_a_network_that_ignores_its_seed_is_not_mixed_with_stored_runs_of_another_start(own_code, tmp_path):
    overrides = own_code("unseeded", seed="int(np.random.default_rng().integers(1 << 30))")
    sweep(tmp_path / "runs", *overrides)
    with pytest.raises(UserError, match=r"d2_w8_s0.*another initialisation.*`seed`.*--fresh"):
        sweep(tmp_path / "runs", *overrides, "sweep.lr_exponents.start=-1")


@pytest.mark.slow
def test_a_seeded_network_of_ones_own_goes_on_from_stored_runs(own_code, tmp_path):
    overrides = own_code("seeded")
    _, _, first = sweep(tmp_path / "runs", *overrides)
    _, _, more = sweep(tmp_path / "runs", *overrides, "sweep.lr_exponents.start=-1")
    assert 0 < more < first


def test_mixed_precision_is_a_users_error(own_code, tmp_path):
    with pytest.raises(UserError, match=r"model.family: mixed:mlp.*computes in float16"):
        sweep(tmp_path / "runs", *own_code("mixed", policy="'mixed_float16'"))


def test_chunks_of_a_loss_that_is_no_mean_are_a_users_error(own_code, tmp_path):
    overrides = [*own_code("sums"), "loss=sums:summed", "sharpness.chunk_size=16"]
    with pytest.raises(UserError, match=r"sharpness.chunk_size: .*mean over its examples"):
        sweep(tmp_path / "runs", *overrides)
