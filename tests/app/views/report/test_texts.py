from sharpness_phases.config.loading import load_config
from sharpness_phases.views.report.texts import settings


def of(*overrides):
    return settings(load_config("quickstart", overrides))


def test_the_model_is_told_with_its_normalization_if_it_has_one():
    assert of()["Model"] == "fcn (relu, standard parameterization)"
    assert of("model.normalization=batch")["Model"] == "fcn (relu, standard parameterization, batch normalization)"


def test_of_a_text_that_is_not_there_no_number_of_examples_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("abc" * 2000)
    model = "model={family: transformer}"
    small = ("training.batch_size=8", "sharpness.examples=8")
    there, gone = (f"data={{dataset: text, path: '{tmp_path / name}', context_length: 10}}" for name in ("a.txt", "b"))
    assert of(model, there, *small)["Data"] == "a.txt, 599 sequences"
    assert of(model, gone, *small)["Data"] == "b"
    assert "batches of 8" in of(model, gone, *small)["Training"]
