"""Recommend: item ids in, item ids with their reasons out. No LLM, no texts, no torch, no data of other users.

    from eimf.serving import Recommender

    model = Recommender.load("bundle/")
    for item in model.recommend_one(["B0001", "B0002"], count=10).items:
        print(item.item_id, item.score, item.reason)

`pipeline/serving.py` makes the same class of a checkpoint in a store.

Shapes: B users, E events of all of them, T longest window, K interests, D width, N items.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.serving.answer import AnswerWriter
from eimf.serving.bundle import read_bundle
from eimf.serving.catalogue import Catalogue
from eimf.serving.cold_start import ColdStart
from eimf.serving.diversity import POOL, diversified
from eimf.serving.faiss_index import open_index
from eimf.serving.index import Exclude, Found, Index, best_scores
from eimf.serving.labels import Labels
from eimf.serving.query import Choice, History, read_arrays, read_choice, read_histories, read_history, with_denied
from eimf.serving.request import check_count, check_flag, id_list
from eimf.serving.result import MenuEntry, Recommendations
from eimf.serving.tower import OnnxTower, Tower

_BATCH = 256
"""Histories that go through the tower together."""


class Recommender:
    """A user tower, an index of items, and their ids. `recommend` takes ids; `rank` takes and returns arrays. Calls
    change nothing, so threads may share one."""

    def __init__(
        self,
        tower: Tower,
        index: Index,
        catalogue: Catalogue,
        item_table: np.ndarray,
        *,
        max_length: int,
        keep_seen: bool,
        cold_start: ColdStart,
        base_width: int | None = None,
        labels: Labels | None = None,
        examples: Sequence[Sequence[int]] = (),
        digest: str = "",
    ) -> None:
        """`base_width` is W of `eimf.serving.manifest`, None: all of the width."""
        self.tower, self.index, self.catalogue, self.item_table = tower, index, catalogue, item_table
        self.max_length = max_length
        """Events that the tower sees: the last ones of a history."""
        self.keep_seen = keep_seen
        """Whether items of the history may be recommended, unless a call says otherwise."""
        self.cold_start, self.labels = cold_start, labels
        self.digest = digest
        """Of the bundle; empty if it comes from a store."""
        self._examples = examples
        self._writer = AnswerWriter(
            item_table, catalogue.item_ids, labels, max_length, base_width or item_table.shape[1]
        )
        self._numbers = {} if labels is None else {name: number for number, name in enumerate(labels.names)}

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> "Recommender":
        """The recommender of a bundle, which is checked first. Raises ArtifactError for a folder that is not a whole
        bundle, and MissingError without a package that it needs."""
        bundle = read_bundle(folder)
        table, part = bundle.item_vectors, bundle.manifest.index
        return cls(
            OnnxTower(bundle.tower, table, threads=threads),
            open_index(table, part.kind, part.parameters, bundle.index, threads=threads),
            Catalogue(bundle.item_ids, bundle.titles),
            table,
            max_length=bundle.manifest.model.max_length,
            keep_seen=bundle.manifest.model.keep_seen,
            cold_start=bundle.cold_start,
            base_width=bundle.manifest.model.base_width,
            labels=bundle.labels,
            examples=bundle.examples,
            digest=bundle.manifest.digest,
        )

    @property
    def item_ids(self) -> list[str]:
        """The id of `item_idx` is `item_ids[item_idx - 1]`."""
        return self.catalogue.item_ids

    @property
    def recent(self) -> np.ndarray:
        """Log share of users whose last training event is the item, [N] float32."""
        return self.cold_start.recent

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        count: int = 10,
        *,
        times: Sequence[Sequence[float]] | None = None,
        exclude_seen: bool | None = None,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        diversity: float = 0.0,
    ) -> list[Recommendations]:
        """The best `count` items of each history, best first; fewer if fewer are left.

        A history is a list of item ids, oldest first, of any length. Unknown ids, also those of `allow` and `deny`, are
        reported in the answer. A history without a known item is answered with what is popular now. `times` has the
        seconds of each event, for a backbone that uses them. With `exclude_seen`, no item of the history is
        recommended; None: as in training. With `allow`, nothing else is recommended; nothing of `deny` ever is.
        `diversity` from 0 to 1 is explained in `eimf.serving.diversity`. Raises DataError for too few times, and for
        ids that are not text.
        """
        check_count(count)
        choice = read_choice(self.catalogue, self._excludes(exclude_seen), allow, deny, diversity)
        read = read_histories(self.catalogue, self.tower.uses_timestamps, histories, times)
        return self._answers(read, count, choice)

    def recommend_one(
        self,
        history: Sequence[str],
        count: int = 10,
        *,
        times: Sequence[float] | None = None,
        exclude_seen: bool | None = None,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """`recommend` for one history."""
        check_count(count)
        choice = read_choice(self.catalogue, self._excludes(exclude_seen), allow, deny, diversity)
        read = read_history(self.catalogue, self.tower.uses_timestamps, history, times)
        return self._answers([read], count, choice)[0]

    def recommend_for(
        self,
        interests: Iterable[str],
        history: Sequence[str] = (),
        count: int = 10,
        *,
        times: Sequence[float] | None = None,
        exclude_seen: bool | None = None,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """The best `count` items for somebody who picked `interests` by their names, and for the history since then,
        if there is any. Everything else is as in `recommend`; names that no label has are reported in the answer."""
        check_count(count)
        names = id_list("interests", interests, "names such as `menu` returns")
        choice = read_choice(self.catalogue, self._excludes(exclude_seen), allow, deny, diversity)
        read = read_history(self.catalogue, self.tower.uses_timestamps, history, times)
        unknown = [name for name in names if name not in self._numbers]
        picked = [self._numbers[name] for name in names if name in self._numbers]
        read = History(read.item_idx, read.times, [*unknown, *read.unknown])
        if not picked:
            return self._answers([read], count, choice)[0]
        return self._answer_picked(picked, read, count, choice)

    def menu(self, count: int = 20) -> list[MenuEntry]:
        """The first `count` named interests for people to pick from, each with a few items that show what it means;
        fewer if there are fewer, none without labels."""
        check_count(count)
        if self.labels is None:
            return []
        names, ids = self.labels.names, self.item_ids
        return [
            MenuEntry(names[number], tuple(ids[item_idx - 1] for item_idx in self._examples[number]))
            for number in self.labels.menu[:count]
        ]

    def rank(
        self,
        item_idx: np.ndarray,
        lengths: np.ndarray,
        *,
        times: np.ndarray | None = None,
        count: int = 10,
        exclude_seen: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best items of each history by `item_idx` [B, count], and their scores, best first; 0 if fewer are left.

        `item_idx` [E] are the events of one history after another, oldest first; `lengths` [B] how many each history
        has, one or more; `times` [E] their seconds, for a backbone that uses them. Fewer columns if there are fewer
        items. Raises DataError for arrays that do not fit together.
        """
        check_count(count)
        item_idx, lengths, times = read_arrays(self.catalogue, self.tower.uses_timestamps, item_idx, lengths, times)
        width = min(count, len(self.catalogue))
        best, scores = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.float32)
        choice = read_choice(self.catalogue, self._excludes(exclude_seen))
        for user, _, found in self._search(item_idx, lengths, times, count, choice):
            best[user], scores[user] = found.item_idx, found.scores
        return best, scores

    def _excludes(self, exclude_seen: bool | None) -> bool:
        """Whether to exclude seen items; None: as in training. Raises DataError for anything but true and false."""
        if exclude_seen is None:
            return not self.keep_seen
        check_flag("exclude_seen", exclude_seen)
        return bool(exclude_seen)

    def _answers(self, histories: list[History], count: int, choice: Choice) -> list[Recommendations]:
        """The answer for each history."""
        warm = [row for row, history in enumerate(histories) if len(history.item_idx)]
        answers: dict[int, Recommendations] = {}
        if warm:
            item_idx = np.concatenate([histories[row].item_idx for row in warm])
            lengths = np.array([len(histories[row].item_idx) for row in warm])
            seconds = [times for row in warm if (times := histories[row].times) is not None]
            times = np.concatenate(seconds) if seconds else None
            for users, interests, found in self._search(item_idx, lengths, times, count, choice):
                for number, user in enumerate(users.tolist()):
                    row = warm[user]
                    answers[row] = self._writer.write(
                        found, number, histories[row], interests[number], unknown=choice.unknown
                    )
        if len(warm) < len(histories):
            scores = self.cold_start.scores((), None, 0)
            popular = self._best(scores, choice.deny, count, choice)
            for row in set(range(len(histories))) - answers.keys():
                answers[row] = self._writer.write(popular, 0, histories[row], None, unknown=choice.unknown)
        return [answers[row] for row in range(len(histories))]

    def _answer_picked(self, picked: list[int], history: History, count: int, choice: Choice) -> Recommendations:
        """The answer for the labels `picked`."""
        item_idx, interests = history.item_idx, None
        if len(item_idx):
            lengths = np.array([min(len(item_idx), self.max_length)])
            times = None if history.times is None else history.times[None, -self.max_length :]
            interests = self.tower.interests(item_idx[None, -self.max_length :], lengths, times)[0]
        deny = np.union1d(choice.deny, item_idx) if choice.exclude_seen else choice.deny
        scores = self.cold_start.scores(picked, interests, len(item_idx))
        found = self._best(scores, deny, count, choice)
        return self._writer.write(found, 0, history, interests, picked=picked, unknown=choice.unknown)

    def _best(self, scores: np.ndarray, deny: np.ndarray, count: int, choice: Choice) -> Found:
        """The best items by the `scores` [N] of all of them."""
        found = best_scores(scores, self._candidates(count, choice), deny=deny, allow=choice.allow)
        return self._diverse(found, count, choice)

    def _search(
        self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None, count: int, choice: Choice
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Found]]:
        """For one block of histories after another, as in `rank`: their numbers, interests, and the items found."""
        offsets = np.cumsum(lengths) - lengths
        by_length = np.argsort(lengths, kind="stable")  # so that windows need little padding
        for start in range(0, len(lengths), _BATCH):
            users = by_length[start : start + _BATCH]
            begin, length = offsets[users], lengths[users]
            index = window_index(begin, begin + length, self.max_length)
            interests = self.tower.interests(
                pad_windows(item_idx, index),
                np.minimum(length, self.max_length),
                None if times is None else pad_windows(times, index),
            )
            rows, events = flat_ranges(begin, length if choice.exclude_seen else 0 * length)
            exclude = with_denied(Exclude(rows, item_idx[events]), choice.deny, len(users))
            found = self.index.search(interests, self._candidates(count, choice), exclude=exclude, allow=choice.allow)
            yield users, interests, self._diverse(found, count, choice)

    def _candidates(self, count: int, choice: Choice) -> int:
        return min(count * POOL if choice.diversity else count, len(self.catalogue))

    def _diverse(self, found: Found, count: int, choice: Choice) -> Found:
        """The `count` items of each row of candidates, as diverse as the choice says."""
        if not choice.diversity:
            return found
        return diversified(found, count, choice.diversity, None if self.labels is None else self.labels.of_items)
