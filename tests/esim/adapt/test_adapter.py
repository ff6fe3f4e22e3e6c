"""An adaptation on a planted world: behaviour connects what texts do not, a shuffled one learns nothing of them, and
other texts cost nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from eimf.config import AdaptSettings
from eimf.data.cooccurrence import count_cooccurrence
from eimf.errors import ModelError
from eimf.esim.adapt.adapter import Adapter
from eimf.esim.adapt.factors import cooccurrence_vectors, evidence_vectors
from eimf.esim.adapt.pairs import shuffled, training_pairs
from eimf.esim.adapt.text_encoder import TextEncoder, pooling_of, width_of
from tests.esim.adapt import tiny
from tests.world import leave_one_out

SETTINGS = AdaptSettings(enabled=True, epochs=25, batch_items=24, lr=1e-2, held_out=0.1, temperature=0.2, max_tokens=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny.encoder(tmp_path_factory.mktemp("encoder"), " ".join(tiny.texts()).split())


def loaded(folder: Path, layers: int = 2) -> TextEncoder:
    return TextEncoder(folder, torch.device("cpu"), precision="float32", max_tokens=8, layers=layers)


def begun(folder: Path, settings: AdaptSettings, texts: list[str]) -> Adapter:
    histories = tiny.histories()
    pairs = training_pairs(
        histories,
        count_cooccurrence(histories),
        texts,
        reach=settings.reach,
        held_out=settings.held_out,
        seed=settings.seed,
    )
    return Adapter(loaded(folder, settings.layers), pairs, texts, settings)


def adapted(folder: Path, settings: AdaptSettings, texts: list[str]) -> Adapter:
    adapter = begun(folder, settings, texts)
    for number in range(settings.epochs):
        adapter.epoch(number, lambda anchors: None)
    return adapter


def agreement(encoder: TextEncoder) -> float:
    """How much nearer the even items of a group are to its odd ones than to those of other groups."""
    vectors = encoder.encode(tiny.texts(), training=False).numpy()
    cosines = vectors @ vectors.T
    item = np.arange(len(vectors))
    other_kind = (item[:, None] + item[None, :]) % 2 == 1
    same = item[:, None] // tiny.EACH == item[None, :] // tiny.EACH
    return float(cosines[same & other_kind].mean() - cosines[~same & other_kind].mean())


def test_behaviour_connects_what_texts_do_not(folder):
    texts = tiny.texts()
    adapter = adapted(folder, SETTINGS, texts)
    control = adapted(folder, SETTINGS, shuffled(texts, 7))
    assert abs(agreement(loaded(folder))) < 0.1
    assert agreement(adapter.encoder) > 0.5
    assert agreement(control.encoder) < 0.25
    assert adapter.retrieved(5) > 0.8


def test_only_the_last_layers_are_trained_and_the_state_resumes_bit_for_bit(folder):
    settings, texts = SETTINGS.model_copy(update={"epochs": 2, "layers": 1}), tiny.texts()
    whole, halted = begun(folder, settings, texts), begun(folder, settings, texts)
    assert {name.split(".layer.")[1][0] for name in whole.encoder.trained()} == {"1"}
    losses = [whole.epoch(number, lambda anchors: None) for number in range(2)]

    def halt(anchors: int) -> None:
        if halted.steps_done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        halted.epoch(0, halt)
    resumed = begun(folder, settings, texts)
    resumed.load(halted.state())
    assert (resumed.steps_done, resumed.anchors_done) == (2, 24)
    assert [resumed.epoch(number, lambda anchors: None) for number in range(2)] == losses
    for name, weight in whole.encoder.trained().items():
        assert torch.equal(weight, resumed.encoder.trained()[name])


def test_a_saved_encoder_loads_again_with_its_pooling(folder, tmp_path):
    adapter = begun(folder, SETTINGS, tiny.texts())
    adapter.epoch(0, lambda anchors: None)
    adapter.encoder.save(tmp_path)
    again = loaded(tmp_path)
    for text in ("even0 w1", "odd3"):
        assert torch.equal(again.encode([text], training=False), adapter.encoder.encode([text], training=False))
    assert (pooling_of(tmp_path), width_of(tmp_path)) == ("mean", tiny.WIDTH)


@pytest.mark.parametrize("mode", ["mean", "cls", "last"])
def test_vectors_are_pooled_as_the_directory_says_and_do_not_depend_on_the_batch(folder, tmp_path, mode):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tiny.write_pooling(tmp_path, mode)
    encoder, texts = loaded(tmp_path), ["even0", "odd1 w7 w8 w9", "w3 odd1"]
    together = encoder.encode(texts, training=False)
    hidden = AutoModel.from_pretrained(folder)(**AutoTokenizer.from_pretrained(folder)(texts[1], return_tensors="pt"))
    hidden = hidden.last_hidden_state[0]
    pooled = {"mean": hidden.mean(dim=0), "cls": hidden[0], "last": hidden[-1]}[mode]
    torch.testing.assert_close(together[1], pooled / pooled.norm())
    torch.testing.assert_close(together, torch.cat([encoder.encode([text], training=False) for text in texts]))


def test_an_encoder_that_cannot_be_adapted_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="does not load"):
        loaded(tmp_path)
    with pytest.raises(ModelError, match="no hidden_size"):
        width_of(tmp_path)
    for modules, settings in [(["Pooling", "Dense"], {"pooling_mode_mean_tokens": True}), (["Pooling"], {})]:
        tiny.write_modules(tmp_path, modules, settings)
        with pytest.raises(ModelError, match="cannot be adapted"):
            pooling_of(tmp_path)
    tiny.write_modules(tmp_path, ["Pooling"], {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True})
    with pytest.raises(ModelError, match="cannot be adapted"):
        pooling_of(tmp_path)
    (tmp_path / "modules.json").write_text("[1]")
    with pytest.raises(ModelError, match="damaged"):
        pooling_of(tmp_path)


def test_cooccurrence_vectors_are_the_factors_of_the_matrix():
    cooccurrence = count_cooccurrence(tiny.histories())
    items = cooccurrence.num_items
    matrix = np.diag(cooccurrence.users / (cooccurrence.users + 5))
    first = np.repeat(np.arange(items), np.diff(cooccurrence.offsets))
    matrix[first, cooccurrence.neighbor_row] = cooccurrence.similarity
    values, factors = np.linalg.eigh(matrix)
    assert values.min() > 0  # so the SVD is the eigendecomposition, and with all columns X X^T is the matrix
    vectors = cooccurrence_vectors(cooccurrence, items + 3, seed=0)
    scale = np.sqrt(np.diag(matrix))
    np.testing.assert_allclose(vectors @ vectors.T, matrix / np.outer(scale, scale), atol=1e-4)
    assert vectors.shape == (items, items + 3) and not vectors[:, items:].any()
    best = factors[:, -tiny.GROUPS :] * np.sqrt(values[-tiny.GROUPS :])
    best /= np.linalg.norm(best, axis=1, keepdims=True)
    few = cooccurrence_vectors(cooccurrence, tiny.GROUPS, seed=0)
    np.testing.assert_allclose(few @ few.T, best @ best.T, atol=1e-4)


def test_an_item_without_training_events_has_no_vector_and_an_interest_is_the_mean_of_its_evidence():
    histories = leave_one_out(np.array([1, 2, 1, 3, 1, 2, 2, 4], np.int32), np.array([0, 4, 8]), 5)
    vectors = cooccurrence_vectors(count_cooccurrence(histories), 4, seed=0)
    assert not vectors[2:].any() and np.allclose(np.linalg.norm(vectors[:2], axis=1), 1)
    units = np.eye(3, dtype=np.float32)
    shown = evidence_vectors(units, [[1], [1, 3], []])
    half, third = 1 / np.sqrt(2), 1 / np.sqrt(3)
    np.testing.assert_allclose(shown, [[1, 0, 0], [half, 0, half], [third, third, third]], rtol=1e-6)
