"""A machine that gives out: no space, no permission, no memory."""

import errno
import os
import resource

import pytest
import tensorflow as tf
from command_line import overridden, phases
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer, SharpnessModel
from sharpness_phases.errors import MachineError
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.runner import TrajectoryRunner

pytestmark = pytest.mark.usefixtures("kept_networks")

SMALL = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false"]


def experiment(folder, *overrides):
    return Experiment.from_config("quickstart", [*SMALL, *overrides], folder)


def constants(folder):
    """The critical constants of an experiment that is run, without pictures."""
    experiment(folder).run_shard((1, 1))
    return PhaseAnalyzer.load(folder).critical_constants()


@pytest.mark.slow
def test_a_full_disk_is_told_and_finished_runs_are_kept(tmp_path, monkeypatch):
    import sharpness_phases.store.records as records

    write, count = records.pq.write_table, []

    def fails_later(*arguments, **options):
        count.append(1)
        if len(count) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments, **options)

    monkeypatch.setattr(records.pq, "write_table", fails_later)
    with pytest.raises(MachineError, match="No space left on device. Finished runs are kept"):
        experiment(tmp_path).run()
    assert len(RunStore(tmp_path / "runs")) == 5
    monkeypatch.undo()
    computed = []

    class Counting:
        def started(self, cells): ...

        def finished(self, cell, runs):
            computed.append(runs)

    experiment(tmp_path).run(Counting())
    assert sum(computed) + 5 == len(RunStore(tmp_path / "runs"))


@pytest.mark.long
def test_a_file_that_the_system_refuses_has_status_1_and_one_message(tmp_path):
    """The limit on file sizes stands for a disk that is full: the kernel itself refuses to write more."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    result = phases("run", "quickstart", *overridden(SMALL), folder=tmp_path, preexec_fn=limit)
    assert result.returncode == 1
    assert "Finished runs are kept" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob(".unfinished-*"))
    assert phases("run", "quickstart", *overridden(SMALL), folder=tmp_path).returncode == 0


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_may_not_be_written_is_told_before_anything_is_run(reason, tmp_path, monkeypatch):
    import tempfile

    def refuse(**options):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(MachineError, match=f"cannot be written there: {os.strerror(reason)}. Choose another --output"):
        experiment(tmp_path / "new").run()
    assert not (tmp_path / "new").exists()


def test_pictures_that_cannot_be_written_are_told_and_tables_are_kept(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "phase_diagram.svg")

    monkeypatch.setattr(Figure, "savefig", refuse)
    with pytest.raises(MachineError, match=r"phase_diagram.svg: Permission denied"):
        experiment(tmp_path).run()
    assert (tmp_path / "critical_constants.csv").exists()


def exhausted_above(examples, monkeypatch):
    """Make measurements on more than so many examples at once run out of memory, as a GPU would."""
    honest = SharpnessModel.measure

    def measure(self, *arguments, **options):
        at_once = self.get_config()["chunk_size"]
        if at_once is None or at_once > examples:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return honest(self, *arguments, **options)

    monkeypatch.setattr(SharpnessModel, "measure", measure)


@pytest.mark.slow
def test_out_of_memory_is_answered_by_smaller_chunks_and_said(tmp_path, monkeypatch, caplog):
    plain = constants(tmp_path / "plain")
    exhausted_above(20, monkeypatch)
    found = constants(tmp_path / "small")
    assert "Out of memory with 64 measurement examples at once; going on with 32" in caplog.text
    assert "going on with 16 (sharpness.chunk_size)" in caplog.text
    names = ["c_loss", "c_sharp", "c_max"]
    assert found[names].equals(plain[names])
    assert found["lambda_0"].tolist() == pytest.approx(plain["lambda_0"].tolist(), rel=1e-4)


@pytest.mark.slow
def test_out_of_memory_with_a_few_examples_names_what_to_change(tmp_path, monkeypatch):
    exhausted_above(1, monkeypatch)
    with pytest.raises(MachineError, match=r"Lower sweep.widths or training.batch_size"):
        experiment(tmp_path).run()


@pytest.mark.slow
def test_out_of_memory_in_the_middle_of_a_run_begins_that_run_anew(tmp_path, monkeypatch, caplog):
    plain = constants(tmp_path / "plain")
    honest, calls = TrajectoryRunner.run, []

    def run(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return honest(self, *arguments, **options)

    monkeypatch.setattr(TrajectoryRunner, "run", run)
    found = constants(tmp_path / "again")
    assert "going on with 32" in caplog.text
    assert found["c_max"].equals(plain["c_max"])


def test_the_basis_of_lanczos_that_does_not_fit_is_answered_too():
    """Memory that numpy and TensorFlow are refused looks alike."""
    from sharpness_phases.config.loading import load_config

    simulator = Simulator(load_config("quickstart", SMALL))
    tries = []

    def compute():
        tries.append(1)
        if len(tries) < 3:
            raise MemoryError
        return "done"

    assert simulator.within_memory(compute) == "done"


def test_memory_that_does_not_suffice_leaves_chunks_alone_where_they_decide_the_loss(tmp_path, monkeypatch):
    from sharpness_phases.config.loading import load_config

    (tmp_path / "with_statistics.py").write_text(
        "import keras\n"
        "def build(*, input_shape, classes, **settings):\n"
        "    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dense(classes)]\n"
        "    return keras.Sequential([keras.Input(input_shape), *layers])\n"
    )
    monkeypatch.chdir(tmp_path)
    own = ["model={family: 'with_statistics:build'}", "sharpness.chunk_size=32"]
    simulator = Simulator(load_config("quickstart", [*SMALL, *own]))

    def compute():
        raise MemoryError

    with pytest.raises(MachineError, match="even with 32 measurement examples.*batch normalisation"):
        simulator.within_memory(compute)
