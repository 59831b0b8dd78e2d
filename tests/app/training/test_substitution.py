import threading
from types import ModuleType

import pytest

from sharpness_phases.training.substitution import Substitution, substituted


def library():
    module = ModuleType("library")
    module.double = lambda x: 2 * x
    return module


def test_a_function_is_replaced_within_and_the_same_object_again_afterwards():
    module = library()
    original = module.double
    with substituted([Substitution(module, "double", lambda x: 3 * x)]):
        assert module.double(1) == 3
    assert module.double is original


def test_a_function_is_put_back_after_an_exception():
    module = library()
    original = module.double
    with pytest.raises(KeyError), substituted([Substitution(module, "double", lambda x: 3 * x)]):
        raise KeyError
    assert module.double is original


def test_what_cannot_be_replaced_leaves_nothing_replaced():
    module = library()
    original = module.double
    wanted = [Substitution(module, "double", lambda x: 3 * x), Substitution(module, "missing", lambda x: x)]
    with pytest.raises(AttributeError, match="missing"), substituted(wanted):
        pass
    assert module.double is original
    assert module.double(1) == 2


def test_the_inner_of_two_replacements_counts_until_it_ends():
    module = library()
    with substituted([Substitution(module, "double", lambda x: 3 * x)]):
        with substituted([Substitution(module, "double", lambda x: 4 * x)]):
            assert module.double(1) == 4
        assert module.double(1) == 3
    assert module.double(1) == 2


def test_a_method_gets_its_object():
    class Adder:
        def add(self, x):
            return x + 1

    with substituted([Substitution(Adder, "add", lambda self, x: (type(self).__name__, x))]):
        assert Adder().add(1) == ("Adder", 1)
    assert Adder().add(1) == 2


def test_another_thread_gets_the_function_itself_while_this_one_gets_the_substitute():
    module, inside, asked = library(), threading.Event(), threading.Event()
    found = []

    def other():
        inside.wait(10)
        found.append(module.double(1))
        asked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with substituted([Substitution(module, "double", lambda x: 3 * x)]):
        inside.set()
        asked.wait(10)
        found.append(module.double(1))
    thread.join()
    assert found == [2, 3]


def test_two_threads_that_overlap_leave_the_function_as_it_was():
    module = library()
    original = module.double
    first_is_in, second_is_in, found = threading.Event(), threading.Event(), {}

    def first():
        with substituted([Substitution(module, "double", lambda x: 3 * x)]):
            first_is_in.set()
            second_is_in.wait(10)

    def second():
        first_is_in.wait(10)
        with substituted([Substitution(module, "double", lambda x: 4 * x)]):
            second_is_in.set()
            threads[0].join()
            found["second"] = module.double(1)

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"second": 4}
    assert module.double is original
