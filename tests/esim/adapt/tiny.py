"""A sentence encoder of two layers with random weights, and items whose texts only behaviour connects."""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from eimf.data.histories import Histories
from tests.world import leave_one_out

GROUPS, EACH = 6, 6
WIDTH = 16


def texts() -> list[str]:
    """Two words of every item's own group, one of them for even items and the other for odd ones, and a third of its
    own: nothing in the texts tells that even and odd items of a group belong together."""
    return [f"{'even' if item % 2 else 'odd'}{item // EACH} w{item}" for item in range(GROUPS * EACH)]


def histories(users: int = 200, length: int = 8, seed: int = 0) -> Histories:
    """Every user takes items of one group only."""
    rng = np.random.default_rng(seed)
    items = [rng.integers(0, EACH, length) + 1 + EACH * rng.integers(GROUPS) for _ in range(users)]
    return leave_one_out(np.concatenate(items).astype(np.int32), np.arange(users + 1) * length, GROUPS * EACH)


def encoder(folder: Path, words: list[str]) -> Path:
    """Write it as transformers does; it knows the `words`."""
    names = ["[PAD]", "[UNK]", *sorted(set(words))]
    tokenizer = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(
                vocab_size=len(names),
                hidden_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=16,
                initializer_range=0.3,
            )
        )
    model.save_pretrained(folder)
    return folder


def write_pooling(folder: Path, mode: str) -> None:
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}
    write_modules(folder, ["Pooling", "Normalize"], {name: mode == each for each, name in names.items()})


def write_modules(folder: Path, names: list[str], pooling: dict[str, bool]) -> None:
    """The files in which sentence-transformers says what follows the transformer."""
    types = {"Transformer": "", **{name: f"{number}_{name}" for number, name in enumerate(names, 1)}}
    modules = [{"path": path, "type": f"sentence_transformers.models.{name}"} for name, path in types.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, **pooling}))
