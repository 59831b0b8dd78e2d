import subprocess
import sys

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
