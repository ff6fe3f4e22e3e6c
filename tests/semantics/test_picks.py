"""What the LLM picked, as soft labels, and what the controls put in its place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings
from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.semantics.build import build_side_information
from eimf.semantics.controls import apply_control
from eimf.semantics.soft_targets import frequency_decay
from eimf.semantics.supervision import Offered, Supervision, clusters_with_picks

ITEMS, TEXT = 12, 4
PICK = {"preset": "text", "smoothing": {"item": 0, "user": 0, "pick": 0.3}}


@pytest.fixture
def histories() -> Histories:
    """Five users of four events, the last of which is held out."""
    items = np.random.default_rng(3).integers(1, ITEMS + 1, 20)
    return Histories(items, np.arange(0, 21, 4), np.full(5, 3), ITEMS)


@pytest.fixture
def supervision() -> Supervision:
    """User 0 is the typical user of cluster 0, and the LLM has read its first two events. It picked two items of
    cluster 0, one of cluster 1, none of cluster 2; user 4 is in no cluster."""
    rows = torch.tensor([[3, 5, 7, 9], [1, 2, 4, -1], [6, 8, -1, -1]])
    picked = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    return Supervision(
        item_text_vectors=torch.nn.functional.normalize(torch.randn(ITEMS, TEXT, generator=generator), dim=1),
        interest_vectors=torch.ones(3, 1, TEXT) / 2,
        interest_id=torch.arange(3)[:, None],
        cluster=torch.tensor([0, 0, 1, 2, -1]),
        last_prompted_position=torch.tensor([1, -1, -1, -1, -1]),
        offered=Offered(rows, picked),
    )


def test_a_prompt_never_supervises_what_it_showed_and_held_out_events_have_no_picks(supervision, histories):
    clusters = clusters_with_picks(supervision, histories).view(5, 4).tolist()
    assert clusters == [[-1, -1, 0, -1], [0, 0, 0, -1], [1, 1, 1, -1], [-1] * 4, [-1] * 4]


@pytest.mark.parametrize("control", ["llm", "shuffled", "random", "candidates"])
def test_the_mass_is_shared_by_the_picks_and_shrinks_with_the_targets_events(supervision, histories, control):
    settings = HeadSettings.model_validate({**PICK, "control": control})
    backbone = build_backbone(ModelSettings(width=8, max_length=8), ITEMS, 0)
    side = build_side_information(backbone, supervision, histories, settings, 1)
    event = torch.arange(20)
    item_row = torch.from_numpy(histories.item_idx).long() - 1
    labels = side.soft_labels(item_row, event // 4, event)
    picks = apply_control(supervision, control, histories, 1).offered
    decay, clusters = frequency_decay(histories.frequency()), clusters_with_picks(side.supervision, histories)
    for place in range(20):
        cluster = int(clusters[place])
        rows = picks.rows[cluster][picks.picked[cluster]].tolist() if cluster >= 0 else []
        wanted = torch.zeros(ITEMS)
        for row in rows:
            wanted[row] += 0.3 * decay[item_row[place]] / len(rows)
        given = torch.zeros(ITEMS).index_add_(0, labels.rows[place], labels.shares[place])
        torch.testing.assert_close(given, wanted)


def test_controls_pick_as_many_items_and_no_others_than_they_say(supervision, histories):
    offered, drawn = supervision.offered, set()
    for seed in range(30):
        candidates = apply_control(supervision, "candidates", histories, seed).offered
        assert torch.equal(candidates.rows, offered.rows)
        assert candidates.picked.sum(dim=1).tolist() == [2, 1, 0] and not candidates.picked[offered.rows < 0].any()
        drawn |= {tuple(candidates.picked[0].tolist()), tuple(candidates.picked[1].tolist())}
        shuffled = apply_control(supervision, "shuffled", histories, seed)
        sources = shuffled.interest_id[:, 0]
        assert (sources != torch.arange(3)).all()
        assert torch.equal(shuffled.offered.picked, offered.picked[sources])  # with the interests
        random = apply_control(supervision, "random", histories, seed).offered
        assert torch.equal(random.picked, offered.picked) and torch.equal(random.rows < 0, offered.rows < 0)
        assert random.rows.max() < ITEMS and not torch.equal(random.rows, offered.rows)
    assert len(drawn) == 6 + 3  # every pair of four, and every one of three
    assert torch.equal(
        apply_control(supervision, "candidates", histories, 1).interest_vectors, supervision.interest_vectors
    )
    with pytest.raises(SettingError, match="candidates, but the LLM was offered none"):
        apply_control(replace(supervision, offered=None), "candidates", histories, 1)


def test_settings_that_cannot_be_meant_are_refused():
    for control in ("cluster", "titles"):
        with pytest.raises(ValidationError, match=f"control={control} cannot stand for picks"):
            HeadSettings.model_validate({**PICK, "control": control})
    with pytest.raises(ValidationError, match="control=candidates stands for picks"):
        HeadSettings(preset="paper", control="candidates")
    with pytest.raises(ValidationError, match=r"its parts add up to 1\.2; lower one"):
        HeadSettings.model_validate({"preset": "text", "smoothing": {"pick": 0.6}})


def test_without_picks_keys_are_as_before():
    assert "pick" not in HeadSettings(preset="text").configuration()["smoothing"]
    picks = HeadSettings.model_validate({"preset": "text", "smoothing": {"pick": 0.1}, "control": "shuffled"})
    assert picks.source == "esim" and picks.configuration()["smoothing"]["pick"] == 0.1
