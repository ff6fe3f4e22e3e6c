"""Names and reasons at request time, by hand."""

import subprocess
import sys

import numpy as np
import pytest

from eimf.serving.labels import Labels
from eimf.serving.reasons import because, labels_of, picked_labels_of, reasons
from eimf.serving.result import Reason

ITEMS = np.array([[0, 0], [2, 0], [3, 0.3], [0, 1], [0.1, 4], [1, 1]], np.float32)  # row 0: padding
IDS = ["pen", "pencil", "cup", "mug", "tray"]
WRITING, CUPS = 0, 1


def labels(**options: float) -> Labels:
    limits = {"threshold": 0.9, **options}
    return Labels(["writing", "cups"], np.eye(2, dtype=np.float32), np.array([0, 0, 1, -1, -1]), **limits)


def test_an_interest_has_the_nearest_label_if_it_is_near_enough():
    interests = np.array([[5, 0.1], [1, 1], [0, -2], [0, 0]])
    assert labels().of_interests(interests).tolist() == [WRITING, -1, -1, -1]
    assert labels(threshold=0.7).of_interests(interests[None]).tolist() == [[WRITING, WRITING, -1, -1]]


def test_an_item_has_the_label_of_the_export():
    assert labels().of_items(np.array([[1, 3], [4, 0]])).tolist() == [[WRITING, CUPS], [-1, -1]]
    assert [labels().name(number) for number in (0, 1, -1)] == ["writing", "cups", None]


def test_without_labels_nothing_has_one():
    none = Labels([], np.zeros((0, 2)), np.full(5, -1), threshold=0.0)
    assert none.of_interests(np.ones((3, 2))).tolist() == [-1, -1, -1]
    assert none.of_items(np.array([1, 2])).tolist() == [-1, -1]
    assert not none.fit(np.array([-1]), np.ones((1, 2))).any()


def test_one_interest_names_each_item_by_itself():
    item_idx = np.array([1, 3, 5])
    assert labels_of(item_idx, np.zeros(3, int), np.array([[1.0, 0]]), labels(), ITEMS).tolist() == [WRITING, CUPS, -1]
    assert labels_of(item_idx, np.full(3, -1), None, labels(), ITEMS).tolist() == [WRITING, CUPS, -1]


def test_several_interests_name_what_they_bring_if_it_fits():
    interests = np.array([[4, 0], [1, 1], [0, 1.0]])  # the second has no label
    item_idx, interest = np.array([2, 5, 3, 1, 4]), np.array([0, 0, 1, 2, 2])
    # 5 does not fit "writing" and has no label, 3 is named by itself, and so is 1: it does not fit "cups".
    told = labels_of(item_idx, interest, interests, labels(), ITEMS)
    assert told.tolist() == [WRITING, -1, CUPS, WRITING, CUPS]
    assert labels_of(item_idx, interest, interests, labels(item_threshold=0.7), ITEMS)[1] == WRITING


def test_a_picked_name_is_told_if_it_fits():
    item_idx = np.array([1, 3, 4, 5])
    # 3 has the label "cups" by export, whatever the cosine; 4 points to "cups"; 5 points to neither.
    assert picked_labels_of(item_idx, np.array([CUPS]), labels(), ITEMS).tolist() == [-1, CUPS, CUPS, -1]
    assert picked_labels_of(item_idx, np.array([CUPS, WRITING]), labels(), ITEMS).tolist() == [WRITING, CUPS, CUPS, -1]
    assert picked_labels_of(item_idx, np.array([CUPS]), labels(item_threshold=1.1), ITEMS).tolist() == [
        -1,
        CUPS,
        -1,
        -1,
    ]
    assert picked_labels_of(item_idx, np.array([CUPS]), labels(item_threshold=0.7), ITEMS).tolist() == [
        -1, CUPS, CUPS, CUPS,
    ]  # fmt: skip


def test_if_no_picked_name_fits_the_item_has_its_usual_one():
    arguments = {"item_table": ITEMS, "item_ids": IDS, "labels": labels()}
    item_idx, none, nothing = np.array([1, 4, 5]), np.full(3, -1), np.zeros(0, int)
    told = reasons(item_idx, none, history=nothing, interests=None, picked=[CUPS], **arguments)
    assert [(reason.interest, reason.label) for reason in told] == [(-1, "writing"), (-1, "cups"), (-1, None)]
    one = np.array([[0, 1.0]])
    told = reasons(item_idx, 1 + none, history=np.array([3]), interests=one, picked=[WRITING], **arguments)
    assert [(reason.label, reason.because) for reason in told] == [("writing", "cup"), (None, "cup"), (None, "cup")]


def test_the_nearest_item_of_the_history_speaks_for_an_item():
    history = np.array([1, 4, 2, 4])
    assert because(np.array([3, 1, 5]), history, ITEMS).tolist() == [4, 1, 2]
    assert because(np.array([3, 1]), history[:0], ITEMS).tolist() == [0, 0]


def test_a_reason_tells_interest_label_and_item():
    arguments = {"interests": np.array([[4, 0], [0, 1.0]]), "item_table": ITEMS, "item_ids": IDS, "labels": labels()}
    told = reasons(np.array([2, 3]), np.array([0, 1]), history=np.array([1, 4]), **arguments)
    assert [(reason.interest, reason.label, reason.because) for reason in told] == [
        (0, "writing", "pen"),
        (1, "cups", "mug"),
    ]
    alone = {**arguments, "interests": None, "labels": None}
    assert reasons(np.array([2]), np.array([-1]), history=np.array([], int), **alone) == [Reason(-1)]


@pytest.mark.slow
def test_names_need_numpy_and_pydantic_only():
    code = "import sys, eimf.serving.labels, eimf.serving.reasons; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in printed.split()}
    assert "numpy" in loaded and not loaded & {"torch", "pyarrow", "polars", "faiss", "onnxruntime"}
