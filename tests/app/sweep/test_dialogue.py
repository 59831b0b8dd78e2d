import pytest
from made_up import T, run

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
