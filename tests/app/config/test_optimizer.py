"""The section `optimizer`: Keras' names, arguments and defaults."""

import inspect
import re

import keras
import pytest
from pydantic import ValidationError

from sharpness_phases.config.loading import ConfigError, dump_config, load_config
from sharpness_phases.config.optimizer import ARGUMENTS, OptimizerConfig
from sharpness_phases.training.optimizers import BY_NAME

NOT_OFFERED = {"learning_rate", "name", "kwargs", "loss_scale_factor", "gradient_accumulation_steps"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_optimizer_takes_the_arguments_of_keras_with_its_defaults(name):
    parameters = inspect.signature(BY_NAME[name].__init__).parameters
    of_keras = {
        key: parameter.default
        for key, parameter in parameters.items()
        if key not in NOT_OFFERED and key != "self" and not key.startswith(("use_ema", "ema_"))
    }
    ours = {key: value or None if key == "weight_decay" else value for key, value in ARGUMENTS[name].items()}
    assert ours.pop("initial_second_moment", "zero") == "zero"  # as all moments of Keras begin
    assert ours == of_keras
    assert issubclass(BY_NAME[name], keras.optimizers.Optimizer)


def test_what_is_keras_default_anyway_is_the_same_as_not_said():
    assert OptimizerConfig(name="adam", beta_1=0.9, epsilon=1e-7) == OptimizerConfig(name="adam")
    assert OptimizerConfig(name="adamw", weight_decay=0.004) == OptimizerConfig(name="adamw")
    assert OptimizerConfig(name="adamw", weight_decay=0.0) != OptimizerConfig(name="adamw")
    assert OptimizerConfig(momentum=0, nesterov=False) == OptimizerConfig()
    assert OptimizerConfig(name="nadam", beta_2=0.5).arguments["beta_2"] == 0.5
    assert OptimizerConfig(name="nadam", beta_2=0.5).arguments["beta_1"] == 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{name: lion}", "optimizer.name: must be one of 'sgd', 'rmsprop', 'adam', 'adamw', 'nadam', or 'package"),
        ("{name: adam, momentum: 0.9}", "optimizer: momentum: no argument of adam, which takes beta_1, beta_2, eps"),
        ("{beta_1: 0.9}", "optimizer: beta_1: no argument of sgd, which takes momentum, nesterov, weight_decay, clip"),
        ("{name: adam, beta_2: 1}", "optimizer.beta_2: must be below 1; got 1"),
        ("{name: adam, epsilon: 0}", "optimizer.epsilon: must be above 0; got 0"),
        ("{momentum: false}", "optimizer.momentum: must be a number; got false"),
        ("{nesterov: 0.0}", "optimizer.nesterov: must be true or false; got 0.0"),
        ("{weight_decay: -1}", "optimizer.weight_decay: must be at least 0; got -1"),
        ("{clipnorm: 1, clipvalue: 1}", "optimizer: at most one of clipnorm, clipvalue, global_clipnorm may be given"),
        ("{name: 'mine:Own', beta_1: 0.5}", "optimizer: beta_1: not for your own optimizer; say it in its class"),
        ("{learning_rate: 0.1}", "unknown key 'learning_rate' in optimizer; allowed: name, momentum"),
        ("{warmup: {steps: -1}}", "optimizer.warmup.steps: must be at least 0; got -1"),
        ("{warmup: {start: 1.5}}", "optimizer.warmup.start: must be at most 1; got 1.5"),
        (
            "{warmup: {stesp: 3}}",
            "unknown key 'stesp' in optimizer.warmup; allowed: steps, start (did you mean 'steps'",
        ),
        ("{warmup: 3}", "optimizer.warmup: must be a section with the keys steps, start; got 3"),
        ("{initial_second_moment: gradient}", "optimizer: initial_second_moment: no argument of sgd, which takes"),
        ("{name: adam, initial_second_moment: one}", "optimizer.initial_second_moment: must be one of 'zero' or 'grad"),
    ],
)
def test_what_no_optimizer_has_is_refused_with_what_is_allowed(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config("quickstart", [f"optimizer={settings}"])


def test_a_momentum_as_older_configs_say_it_stands_alone():
    assert load_config("quickstart", ["training.momentum=0.5", "optimizer={name: sgd, momentum: 0.0}"])
    with pytest.raises(ConfigError, match=r"training\.momentum: must be 0 beside an `optimizer`, whose momentum is"):
        load_config("quickstart", ["training.momentum=0.5", "optimizer={name: adam}"])


def test_a_warm_up_is_said_once_and_beside_any_optimizer():
    for optimizer in ("{name: 'mine:Own', warmup: {steps: 3}}", "{name: adam, warmup: {steps: 3, start: 0.1}}"):
        assert load_config("quickstart", [f"optimizer={optimizer}"]).warmup.steps == 3
    older = load_config("quickstart", ["training={momentum: 0.5, warmup_steps: 4}"])
    assert (older.warmup.steps, older.trained_by.warmup.steps, older.trained_by.momentum) == (4, 4, 0.5)
    beside = load_config("quickstart", ["training.momentum=0.5", "optimizer.warmup.steps=4"])
    assert beside.trained_by == older.trained_by
    with pytest.raises(ConfigError, match=r"training\.warmup_steps: must be 0 beside optimizer\.warmup, which says"):
        load_config("quickstart", ["training.warmup_steps=4", "optimizer.warmup.steps=4"])


def test_a_config_with_an_optimizer_survives_writing_and_reading(tmp_path):
    config = load_config("quickstart", ["optimizer={name: adamw, beta_2: 0.95, weight_decay: 0, amsgrad: true}"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert load_config(path, ["optimizer.beta_2=0.999"]).optimizer.beta_2 is None


def test_a_section_cannot_be_made_wrong_in_python_either():
    with pytest.raises(ValidationError, match="no argument of rmsprop"):
        OptimizerConfig(name="rmsprop", nesterov=True)
