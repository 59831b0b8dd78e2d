import numpy as np
import pytest

from sharpness_phases.data.catalogue import DATA_SETS, SHAKESPEARE_ALPHABET, DataSize, described, names_of
from sharpness_phases.data.preprocessing import prepare
from sharpness_phases.data.tokens import load_tokens, modular_addition, next_tokens, text_digest
from sharpness_phases.errors import UserError


@pytest.mark.parametrize("length", [16, 64, 1000])
def test_the_embedded_plays_are_what_their_description_says(length):
    x, y = load_tokens(size := DataSize("shakespeare", context_length=length))
    info = described(size)
    assert x.shape == y.shape == (info.train, *info.shape)
    assert sorted(set(x.ravel()) | set(y.ravel())) == list(range(info.classes))
    assert info.vocabulary == info.classes
    assert bytes(SHAKESPEARE_ALPHABET[token] for token in x[0][:6]) == b"Hamlet"


def test_targets_are_the_tokens_behind():
    x, y = load_tokens(DataSize("shakespeare", context_length=50))
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    np.testing.assert_array_equal(x[1:, 0], y[:-1, -1])


def test_a_text_of_the_users_is_read_as_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("héllo wörld", encoding="utf-8")
    size = DataSize("text", context_length=4, path=str(path))
    data = prepare(size)
    assert bytes(data.x.ravel().astype(np.uint8)) == "héllo wörld".encode()[:12]
    assert bytes(data.y.ravel().astype(np.uint8)) == "héllo wörld".encode()[1:13]
    assert data.classes == 256
    assert described(size).train == len(data.x) == 3


def test_what_does_not_fill_an_example_with_a_token_behind_it_is_left_out():
    assert len(next_tokens(b"x" * 8, 4)[0]) == 1
    assert len(next_tokens(b"x" * 9, 4)[0]) == 2
    assert len(next_tokens(b"", 4)[0]) == 0


@pytest.mark.parametrize("p", [2, 7, 97])
def test_modular_addition_holds_every_sum_once(p):
    x, y = modular_addition(p)
    info = described(DataSize("modular_addition", modulus=p))
    assert x.shape == (info.train, *info.shape)
    assert len({tuple(row) for row in x.tolist()}) == p * p
    np.testing.assert_array_equal(y, (x[:, 0] + x[:, 1]) % p)
    assert set(x[:, 2]) == {p}
    assert info.vocabulary == p + 1
    assert np.bincount(y).tolist() == [p] * p


def test_a_subset_of_sums_is_balanced_and_of_text_drawn_anew_for_each_seed():
    sums = prepare(DataSize("modular_addition", modulus=11), 44)
    assert np.bincount(sums.y).tolist() == [4] * 11
    one, same, other = (prepare("shakespeare", 50, seed=seed).x for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_faults_of_a_text_are_told_with_its_name(tmp_path):
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    (tmp_path / "short").write_text("ab")
    for path, expected in (
        (None, "data.path: the file of the text is needed"),
        (str(tmp_path / "none"), "data.path: .*none cannot be read: No such file"),
        (str(tmp_path), "data.path: .* cannot be read: Is a directory"),
        ("a\0b", "data.path: .*cannot be read"),
        (str(tmp_path / "latin"), "data.path: .*latin is no UTF-8 text: .* at byte 0"),
        (str(tmp_path / "short"), "data: .*short has 0 examples of 64 tokens"),
    ):
        with pytest.raises(UserError, match=expected):
            prepare(DataSize("text", path=path))


def test_the_digest_of_a_text_is_of_its_content_and_not_of_its_place(tmp_path):
    one, copy = tmp_path / "one", tmp_path / "copy"
    one.write_text("abc")
    copy.write_text("abc")
    assert text_digest(str(one)) == text_digest(str(copy)) != ""
    one.write_text("abcd")
    assert text_digest(str(one)) != text_digest(str(copy))
    assert text_digest(str(tmp_path / "none")) == ""


def test_sets_of_tokens_have_outputs_of_their_kind():
    assert names_of("tokens") == ["shakespeare", "text", "modular_addition"]
    assert DATA_SETS["modular_addition"].output_shape == (97,)
    assert described(DataSize("shakespeare", context_length=10)).output_shape == (10, 66)
    assert not DATA_SETS["mnist"].has_labels
