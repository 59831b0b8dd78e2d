import pytest
from made_up import T, run, trajectory

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.sweep.dialogue import Dialogue, Unanswered


def test_a_dialogue_asks_for_a_run_only_where_no_earlier_one_answers():
    carried_out = []

    def run_at(index, question):
        carried_out.append((index, question))
        return run(loss_rises=True)

    dialogue = Dialogue(run_at, Criteria(T))
    assert dialogue.known(3, Question.LOSS) is None
    first = dialogue.ask(3, Question.LOSS)
    assert first.holds
    assert first.excess == 1.5
    assert dialogue.ask(3, Question.LOSS) == dialogue.known(3, Question.LOSS) == first
    assert not dialogue.ask(3, Question.DIVERGENCE).holds
    assert carried_out == [(3, Question.LOSS)]
    assert [*dialogue.runs] == [3]


def test_a_run_that_does_not_answer_its_own_question_is_told():
    dialogue = Dialogue(lambda index, question: run(), Criteria(T, barrier=True))  # whose line was not measured
    with pytest.raises(Unanswered, match="barrier at index 2") as told:
        dialogue.ask(2, Question.BARRIER)
    assert (told.value.index, told.value.question) == (2, Question.BARRIER)


@pytest.mark.parametrize(
    ("loss", "late"),
    [
        ([1.0, 0.9, 0.8, 1.3], True),
        ([1.0, 1.3], False),
        ([1.0, 1.2, 1.3], False),
        ([1.0, 0.9, 0.8, 0.9], False),
        ([1.0, 0.9, 0.8, 1.3, *[1.2] * (T - 3)], False),
    ],
    ids=["fell and rose", "rose at once", "kept rising", "below the start", "went to the end"],
)
def test_a_run_ends_in_a_late_rise_where_the_loss_had_fallen_before_it_rose_above_the_start(loss, late):
    dialogue = Dialogue(lambda index, question: trajectory(loss, [0.5] * (len(loss) - 1) + [2.0]), Criteria(T))
    dialogue.ask(5, Question.SHARPNESS)
    assert dialogue.late_rises == ({5} if late else set())
