"""A sentence encoder whose last layers can be trained: transformers' model, pooled as the directory says.

The directory is one of sentence-transformers or vLLM: `modules.json` names the pooling. Without it, the mean is taken,
and the adapted model says so.

Shapes: n texts, c texts of a chunk, T tokens, S width.
"""

import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eimf.errors import MissingError, ModelError

_FIELD = "encoder.model"
_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
_MODULES, _POOLING = "modules.json", "1_Pooling"
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
_CHUNK = 64
"""Texts that are encoded at a time, after sorting by length: little padding, and their activations fit the cache."""


def pooling_of(folder: Path) -> str:
    """How the vectors of a text's tokens become one: mean, cls, or last. Raises ModelError for anything else."""
    try:
        path = folder / _MODULES
        modules = json.loads(path.read_text("utf-8")) if path.is_file() else []
        types = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
        if not types:
            return "mean"
        settings = json.loads((folder / types["Pooling"] / "config.json").read_text("utf-8"))
        if "pooling_mode" in settings:
            modes = [str(settings["pooling_mode"]).removesuffix("token")]
        else:
            modes = [mode for name, mode in _MODES.items() if settings.get(name)]
        others = [name for name, on in settings.items() if on is True and name.startswith("pooling_mode_")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(_FIELD, f"{folder} has a damaged {_MODULES} or pooling", "give the whole directory") from error
    further = sorted(types.keys() - {"Transformer", "Pooling", "Normalize"})
    if further or len(modes) != 1 or modes[0] not in _MODES.values() or len(others) > 1:
        problem = f"{folder} pools by {further or others or modes}, which cannot be adapted"
        raise ModelError(
            _FIELD, problem, "give an encoder with one pooling (mean, cls or last token), or switch it off"
        )
    return modes[0]


class TextEncoder:
    """The encoder of a directory, in float32."""

    def __init__(self, folder: Path, device: torch.device, *, precision: str, max_tokens: int, layers: int) -> None:
        """Trains the last `layers` and nothing else. Raises MissingError without transformers, ModelError
        if it cannot load the model."""
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            hint = "run `make esim`, or install the esim extra (esim-cpu without a GPU)"
            raise MissingError("transformers", f"not usable here ({error})", hint) from error
        self._folder, self._pooling = folder, pooling_of(folder)
        self._device, self._max_tokens = device, max_tokens
        self._bfloat16 = precision == "bfloat16"
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            self._model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except (OSError, ValueError, ImportError, AttributeError, KeyError, TypeError, RuntimeError) as error:
            problem = f"{folder} does not load in transformers ({type(error).__name__})"
            raise ModelError(_FIELD, problem, "give the whole directory of a sentence encoder") from error
        self._tokenizer.padding_side = "right"
        self._model.to(device).requires_grad_(False)
        stacks = [module for module in self._model.modules() if isinstance(module, nn.ModuleList)]
        if not stacks:
            raise ModelError(_FIELD, f"{folder} has no stack of layers", "give a transformer")
        deepest = max(stacks, key=len)
        for layer in list(deepest)[-layers:]:
            layer.requires_grad_(True)

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained weights by name."""
        return {name: value for name, value in self._model.named_parameters() if value.requires_grad}

    def encode(self, texts: Sequence[str], *, training: bool) -> Tensor:
        """Unit vectors [n, S], float32, with dropout and gradients if `training`."""
        self._model.train(training)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)["input_ids"]
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        with torch.set_grad_enabled(training):
            chunks = [
                self._pooled([tokens[row] for row in order[start : start + _CHUNK]])
                for start in range(0, len(order), _CHUNK)
            ]
            back = torch.empty(len(order), dtype=torch.int64)
            back[torch.tensor(order)] = torch.arange(len(order))
            return nn.functional.normalize(torch.cat(chunks)[back.to(self._device)], dim=1)

    def _pooled(self, tokens: list[list[int]]) -> Tensor:
        """[c, S] of texts as tokens."""
        batch = self._tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self._device)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            hidden = self._model(**batch).last_hidden_state.float()  # [c, T, S]
        mask = batch["attention_mask"]
        if self._pooling == "mean":
            mean: Tensor = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            return mean
        place = torch.zeros_like(mask[:, 0]) if self._pooling == "cls" else mask.sum(dim=1) - 1
        chosen: Tensor = hidden[torch.arange(len(hidden), device=self._device), place]
        return chosen

    def save(self, target: Path) -> None:
        """Write a directory like the one it was loaded from, with the present weights; vLLM loads it."""
        for path in sorted(self._folder.iterdir()):
            if path.is_file() and _belongs(path.name):
                shutil.copyfile(path, target / path.name)
        self._model.save_pretrained(target, max_shard_size="100GB")
        modules = [
            _module(0, "Transformer", ""),
            _module(1, "Pooling", _POOLING),
            _module(2, "Normalize", "2_Normalize"),
        ]
        (target / _MODULES).write_text(json.dumps(modules, indent=1))
        names = {mode: name for name, mode in _MODES.items()}
        width = {"word_embedding_dimension": self._model.config.hidden_size}
        (target / _POOLING).mkdir()
        pooling = {**width, names[self._pooling]: True}
        (target / _POOLING / "config.json").write_text(json.dumps(pooling, indent=1))


def _belongs(name: str) -> bool:
    """Whether a file is part of a model and no index of weights."""
    return any(fnmatch(name, pattern) for pattern in _FILES) and not name.endswith(".index.json") and name[0].isalnum()


def _module(number: int, name: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}


def width_of(folder: Path) -> int:
    """Width of the vectors of an encoder, without loading it. Raises ModelError if its configuration has none."""
    try:
        width = json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{folder}/config.json tells no hidden_size"
        raise ModelError(_FIELD, problem, "give the directory of a sentence encoder") from error
    return int(width)
