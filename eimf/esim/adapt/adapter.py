"""Adapt a text encoder: steps of AdamW on the contrast of a batch, and a state that resumes bit for bit.

Our decisions: AdamW without weight decay, gradients of norm 1 at most, the learning rate up and down in straight lines.
The random stream of a step's dropout follows from the seed and the step, so it need not be saved.

Shapes: N items, H held-out pairs, C candidates, S width.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from eimf.config import AdaptSettings
from eimf.esim.adapt.batches import batches, num_batches
from eimf.esim.adapt.contrast import contrast
from eimf.esim.adapt.pairs import TrainingPairs
from eimf.esim.adapt.text_encoder import TextEncoder

_LARGEST_NORM = 1.0
_MOMENTS = ("exp_avg", "exp_avg_sq")
_PAIRS, _CANDIDATES = 1024, 2048
"""Most held-out pairs that are looked for, and most items that they are looked for among."""


class Adapter:
    """An adaptation in progress. `steps_done` and `loss_sum` are those of the present epoch."""

    def __init__(self, encoder: TextEncoder, pairs: TrainingPairs, texts: list[str], settings: AdaptSettings) -> None:
        """`texts` [N], in the order of the rows of `pairs`."""
        self.encoder, self._pairs, self._texts, self._settings = encoder, pairs, texts, settings
        self._weights = encoder.trained()
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=settings.lr, weight_decay=0.0)
        self.steps_per_epoch = num_batches(pairs, settings.batch_items)
        self.steps_done, self.loss_sum = 0, 0.0

    @property
    def anchors(self) -> int:
        """Anchors of an epoch."""
        return len(self._pairs.anchors)

    @property
    def anchors_done(self) -> int:
        """Anchors of the present epoch's finished steps."""
        return min(self.steps_done * (self._settings.batch_items // 2), self.anchors)

    def epoch(self, number: int, on_step: Callable[[int], None]) -> float:
        """The rest of epoch `number` (from 0). Returns the mean loss of its steps; `on_step` gets the number of anchors
        after each."""
        settings = self._settings
        rest = batches(self._pairs, settings.batch_items, settings.seed, number, skip=self.steps_done)
        for rows in rest:
            self.loss_sum += self._step(rows, number * self.steps_per_epoch + self.steps_done)
            before = self.anchors_done
            self.steps_done += 1
            on_step(self.anchors_done - before)
        mean = self.loss_sum / max(self.steps_done, 1)
        self.steps_done, self.loss_sum = 0, 0.0
        return mean

    def _step(self, rows: np.ndarray, step: int) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.lr * self._rate(step)
        weights = torch.from_numpy(self._pairs.pairs.among(rows))
        negatives = torch.from_numpy(self._pairs.comparable(rows))
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence((self._settings.seed, step)).generate_state(1)[0]))
            vectors = self.encoder.encode([self._texts[row] for row in rows], training=True)
            device = vectors.device
            loss = contrast(vectors, weights.to(device), negatives.to(device), self._settings.temperature)
            self._optimizer.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _LARGEST_NORM)
        self._optimizer.step()
        return float(loss.detach())

    def _rate(self, step: int) -> float:
        """Share of the learning rate at a step, from 0: up over the warm-up, then down to 0."""
        total = self.steps_per_epoch * self._settings.epochs
        warm = round(self._settings.warmup * total)
        return (step + 1) / warm if step < warm else (total - step) / max(total - warm, 1)

    def retrieved(self, count: int) -> float | None:
        """The share of held-out pairs whose second item is among the `count` nearest of the first, without its related
        items and those with its text; None if no pair is held out."""
        pairs, rows = self._held_out, self._candidates
        if not len(pairs):
            return None
        vectors = self.encoder.encode([self._texts[row] for row in rows], training=False).cpu()
        first, second = (np.searchsorted(rows, pairs[:, side]) for side in (0, 1))
        scores = vectors[torch.from_numpy(first)] @ vectors.T  # [H, C]
        others = torch.from_numpy(self._pairs.comparable(rows)[first])
        target = scores.gather(1, torch.from_numpy(second)[:, None])
        better = (others & (scores >= target)).sum(dim=1)
        return float((better < count).double().mean())

    @cached_property
    def _held_out(self) -> np.ndarray:
        return self._pairs.held_out[:_PAIRS]

    @cached_property
    def _candidates(self) -> np.ndarray:
        """Rows [C], ascending: the items of the held-out pairs, and others drawn at random."""
        num_items = len(self._texts)
        drawn = np.random.default_rng(self._settings.seed).permutation(num_items)[:_CANDIDATES]
        return np.union1d(drawn, self._held_out)

    def state(self) -> dict[str, Tensor]:
        """All that a later process needs to continue exactly here."""
        state = {f"weight.{name}": value.detach() for name, value in self._weights.items()}
        for name, value in self._weights.items():
            for moment in self._optimizer.state[value]:
                state[f"{moment}.{name}"] = self._optimizer.state[value][moment]
        progress = torch.tensor([self.steps_done, self.loss_sum], dtype=torch.float64)
        return {**{name: value.contiguous().cpu() for name, value in state.items()}, "progress": progress}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from `state()` of the same adaptation."""
        self.steps_done, self.loss_sum = int(state["progress"][0]), float(state["progress"][1])
        for name, value in self._weights.items():
            with torch.no_grad():
                value.copy_(state[f"weight.{name}"])
            if f"step.{name}" in state:
                moments = {moment: state[f"{moment}.{name}"].to(value.device) for moment in _MOMENTS}
                self._optimizer.state[value] = {"step": state[f"step.{name}"], **moments}
