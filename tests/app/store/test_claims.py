import errno
import os
import subprocess
import sys
import threading

import pytest

from sharpness_phases.store.claims import Claims


def other(folder, code):
    """Run code in another process that works in the folder, too."""
    imports = "from pathlib import Path; from sharpness_phases.store.claims import Claims"
    program = f"{imports}; c = Claims(Path({str(folder)!r})); {code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def claims(tmp_path):
    with Claims(tmp_path) as claims:
        yield claims


def test_a_name_is_one_process_own_until_it_is_given_back(claims, tmp_path):
    assert claims.claim("d2_w8_s0")
    assert other(tmp_path, "print(c.claim('d2_w8_s0'), c.claim('d2_w8_s1'))") == "False True"
    claims.release("d2_w8_s0")
    assert other(tmp_path, "print(c.claim('d2_w8_s0'))") == "True"


def test_the_claims_of_a_process_that_ends_are_free(claims, tmp_path):
    assert other(tmp_path, "print(c.claim('a'))") == "True"
    assert claims.claim("a")


def test_a_process_knows_whether_it_is_alone(claims, tmp_path):
    assert other(tmp_path, "print(c.is_alone())") == "False"
    assert claims.is_alone()
    claims.release("never claimed")
    assert claims.is_alone()


def test_waiting_ends_when_the_other_gives_the_name_back(claims, tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from sharpness_phases.store.claims import Claims;"
        f"c = Claims(Path({str(tmp_path)!r})); print(c.claim('a'), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"True\n"
        assert not claims.claim("a")
        process.stdin.close()
        claims.wait("a")
        assert process.wait() == 0


def test_without_locks_of_the_file_system_every_claim_is_granted_and_it_is_said_once(claims, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    caplog.set_level("INFO")
    monkeypatch.setattr("sharpness_phases.store.claims.fcntl.lockf", refuse)
    assert claims.claim("a")
    assert claims.claim("b")
    assert caplog.text.count("No locks available") == 1


def test_where_locks_are_refused_nobody_is_certain_to_be_alone(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("sharpness_phases.store.claims.fcntl.lockf", refuse)
    with Claims(tmp_path) as claims, claims.alone() as alone:
        assert not alone
        assert not claims.is_alone()
        assert not claims.are_certain


def in_a_thread(function):
    """What a function gives in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_two_threads_do_not_share_a_claim(claims, tmp_path):
    assert claims.claim("a")
    assert claims.claim("a")  # ours already
    assert not in_a_thread(lambda: claims.claim("a"))
    with Claims(tmp_path) as other_claims:
        assert not in_a_thread(lambda: other_claims.claim("a"))
        assert not claims.is_alone()
        in_a_thread(lambda: claims.release("a"))
        assert not in_a_thread(lambda: other_claims.claim("a"))
        claims.release("a")
        assert in_a_thread(lambda: other_claims.claim("a"))
    assert claims.claim("a")
    assert claims.is_alone()


def test_claims_of_a_process_outlast_others_of_its_own_on_the_folder(claims, tmp_path):
    assert claims.claim("a")
    with Claims(tmp_path) as others:
        assert others.claim("b")
    assert other(tmp_path, "print(c.claim('a'), c.claim('b'), c.is_alone())") == "False True False"


def test_a_thread_waits_for_the_claim_of_another(claims, tmp_path):
    claims.wait("a")
    order = []

    def second():
        with Claims(tmp_path) as others, others.holding("a"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.2)
    order.append("first")
    claims.release("a")
    thread.join()
    assert order == ["first", "second"]


def test_who_comes_while_another_is_alone_waits_and_is_seen_then(tmp_path):
    program = (
        "import sys; from pathlib import Path; from sharpness_phases.store.claims import Claims;"
        f"print('coming', flush=True); c = Claims(Path({str(tmp_path)!r})); print('in', flush=True); sys.stdin.read()"
    )
    with Claims(tmp_path) as claims:
        with claims.alone() as alone:
            assert alone
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout.readline() == "coming\n"
            reader = threading.Thread(target=process.stdout.readline)
            reader.start()
            reader.join(0.3)
            assert reader.is_alive()
        reader.join()
        assert not claims.is_alone()
        process.communicate()
        assert claims.is_alone()


def test_a_folder_that_was_removed_while_it_was_entered_is_made_anew(tmp_path):
    place = tmp_path / "mine"
    first = Claims(place)
    found = []

    def enter():
        with Claims(place) as claims:
            found.append((place / ".lock").exists() and claims.claim("a"))

    thread = threading.Thread(target=enter)
    with first.alone() as alone:
        assert alone
        thread.start()
        thread.join(0.1)
        (place / ".lock").unlink()
        place.rmdir()
    thread.join()
    assert found == [True]


def test_a_process_that_was_split_off_has_no_claim_of_its_parents(claims):
    assert claims.claim("a")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(claims.claim("a")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"False"
