"""Recommend: item ids in, item ids with their reasons out. No LLM, no texts, no torch, no data of other users.

    from eimf.serving import Recommender

    model = Recommender.load("bundle/")
    for item in model.recommend_one(["B0001", "B0002"], count=10).items:
        print(item.item_id, item.score, item.reason)

`pipeline/serving.py` makes the same class of a checkpoint in a store.

Shapes: B users, E events of all of them, T longest window, K interests, D width, N items.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.errors import DataError
from eimf.serving.bundle import read_bundle
from eimf.serving.catalogue import Catalogue
from eimf.serving.diversity import POOL, diverse_order
from eimf.serving.index import ExactIndex, Exclude, Found, Index
from eimf.serving.labels import Labels
from eimf.serving.reasons import names_of, reasons
from eimf.serving.request import WANTS_TIMES, check_count, check_diversity, check_ids, id_list, listed, seconds_of
from eimf.serving.result import Reason, Recommendation, Recommendations
from eimf.serving.tower import OnnxTower, Tower

_BATCH = 256
"""Histories that go through the tower together."""


@dataclass(frozen=True)
class _History:
    """The known events of one history: `item_idx` [E], `times` [E] if the tower uses them; and the `unknown` ids."""

    item_idx: np.ndarray
    times: np.ndarray | None
    unknown: list[str]


@dataclass(frozen=True)
class _Choice:
    """What a call says about items: `allow` [A] item_idx, None if all are; `deny` [X] item_idx; whether items of the
    history are excluded; the diversity; and the `unknown` ids of the two lists."""

    allow: np.ndarray | None
    deny: np.ndarray
    exclude_seen: bool
    diversity: float
    unknown: list[str]


class Recommender:
    """A user tower, an index of items, and their ids. `recommend` takes ids; `rank` takes and returns arrays."""

    def __init__(
        self,
        tower: Tower,
        index: Index,
        catalogue: Catalogue,
        *,
        max_length: int,
        keep_seen: bool,
        item_table: np.ndarray,
        recent: np.ndarray | None = None,
        labels: Labels | None = None,
        digest: str = "",
    ) -> None:
        self.tower, self.index, self.catalogue = tower, index, catalogue
        self.item_table, self.labels = item_table, labels
        self.max_length = max_length
        """Events that the tower sees: the last ones of a history."""
        self.keep_seen = keep_seen
        """Whether items of the history may be recommended, unless a call says otherwise."""
        self.digest = digest
        """Of the bundle; empty if it comes from a store."""
        self._recent = np.zeros(len(catalogue), np.float32) if recent is None else recent

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> "Recommender":
        """The recommender of a bundle, which is checked first. Raises ArtifactError for a folder that is not a whole
        bundle, and MissingError without onnxruntime."""
        bundle = read_bundle(folder)
        model, table = bundle.manifest.model, bundle.item_vectors
        return cls(
            OnnxTower(bundle.tower, table, threads=threads),
            ExactIndex(table),
            Catalogue(bundle.item_ids, bundle.titles),
            max_length=model.max_length,
            keep_seen=model.keep_seen,
            item_table=table,
            recent=bundle.recent,
            labels=bundle.labels,
            digest=bundle.manifest.digest,
        )

    @property
    def item_ids(self) -> list[str]:
        """The id of `item_idx` is `item_ids[item_idx - 1]`."""
        return self.catalogue.item_ids

    @property
    def recent(self) -> np.ndarray:
        """Log share of users whose last training event is the item, [N] float32; zeros without a bundle."""
        return self._recent

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
        choice = self._choice(exclude_seen, allow, deny, diversity)
        wanted = f"lists of ids such as [{self.catalogue.example()}]"
        rows = listed("histories", histories, wanted)
        read = [
            self._history("histories", ids, seconds, wanted, f"number {number} ")
            for number, (ids, seconds) in enumerate(zip(rows, self._rows_of_times(times, rows), strict=True))
        ]
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
        choice = self._choice(exclude_seen, allow, deny, diversity)
        wanted = f"a list of ids such as [{self.catalogue.example()}]"
        return self._answers([self._history("history", history, times, wanted, "")], count, choice)[0]

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
        if (lengths < 1).any() or lengths.sum() != len(item_idx):
            raise DataError("lengths", "do not divide the events", "give how many events each history has, 1 or more")
        self.catalogue.check(item_idx)
        times = times if self.tower.uses_timestamps else None
        if self.tower.uses_timestamps and (times is None or len(times) != len(item_idx)):
            raise DataError("times", "none" if times is None else "not as many as events", WANTS_TIMES)
        width = min(count, len(self.catalogue))
        best, scores = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.float32)
        for user, _, found in self._search(item_idx, lengths, times, count, self._choice(exclude_seen, None, None, 0)):
            best[user], scores[user] = found.item_idx, found.scores
        return best, scores

    def _choice(
        self, exclude_seen: bool | None, allow: Iterable[str] | None, deny: Iterable[str] | None, diversity: float
    ) -> _Choice:
        """Raises DataError for lists that are not of ids."""
        check_diversity(diversity)
        allowed, unknown = self._item_set("allow", allow)
        denied, more = self._item_set("deny", deny)
        if allowed is not None and denied is not None:
            allowed = np.setdiff1d(allowed, denied, assume_unique=True)
        return _Choice(
            allow=allowed,
            deny=np.zeros(0, np.int64) if denied is None or allowed is not None else denied,
            exclude_seen=not self.keep_seen if exclude_seen is None else bool(exclude_seen),
            diversity=float(diversity),
            unknown=unknown + more,
        )

    def _item_set(self, field: str, item_ids: Iterable[str] | None) -> tuple[np.ndarray | None, list[str]]:
        """The known items of a list, sorted, and its unknown ids; None without a list."""
        if item_ids is None:
            return None, []
        ids = id_list(field, item_ids, f"item ids such as [{self.catalogue.example()}]")
        item_idx = self.catalogue.item_idx(ids)
        return np.unique(item_idx[item_idx > 0]), [ids[place] for place in np.flatnonzero(item_idx == 0)]

    def _rows_of_times(self, times: object, rows: list[object]) -> list[object]:
        """The times of each history; None for each if the tower does not use them or nothing is given."""
        if times is None or not self.tower.uses_timestamps:
            return [None] * len(rows)
        seconds = listed("times", times, "lists of seconds, one for each history")
        if len(seconds) != len(rows):
            raise DataError("times", "not as many as histories", WANTS_TIMES)
        return seconds

    def _history(self, field: str, ids: object, times: object, wanted: str, where: str) -> _History:
        """Raises DataError for ids that are not text, or too few times."""
        item_ids = check_ids(field, listed(field, ids, wanted, where), wanted, where)
        item_idx = self.catalogue.item_idx(item_ids)
        seconds = None
        if self.tower.uses_timestamps and item_ids:
            seconds = seconds_of(times, len(item_ids), where)
        known = item_idx > 0
        if known.all():
            return _History(item_idx, seconds, [])
        unknown = [item_ids[place] for place in np.flatnonzero(~known)]
        return _History(item_idx[known], None if seconds is None else seconds[known], unknown)

    def _answers(self, histories: list[_History], count: int, choice: _Choice) -> list[Recommendations]:
        """The answer for each history."""
        warm = [row for row, history in enumerate(histories) if len(history.item_idx)]
        answers: dict[int, Recommendations] = {}
        if warm:
            item_idx = np.concatenate([histories[row].item_idx for row in warm])
            lengths = np.array([len(histories[row].item_idx) for row in warm])
            seconds = [times for row in warm if (times := histories[row].times) is not None]
            times = np.concatenate(seconds) if seconds else None
            for users, interests, found in self._search(item_idx, lengths, times, count, choice):
                for place, user in enumerate(users.tolist()):
                    row = warm[user]
                    answers[row] = self._answer(found, place, interests[place], histories[row], choice)
        if len(warm) < len(histories):
            popular = self._popular(count, choice)
            for row in set(range(len(histories))) - answers.keys():
                answers[row] = self._answer(popular, 0, None, histories[row], choice)
        return [answers[row] for row in range(len(histories))]

    def _search(
        self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None, count: int, choice: _Choice
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Found]]:
        """For block after block of histories as in `rank`: which they are, their interests, and what was found."""
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
            yield users, interests, self._found(interests, rows, item_idx[events], count, choice)

    def _found(self, interests: np.ndarray, rows: np.ndarray, seen: np.ndarray, count: int, choice: _Choice) -> Found:
        """The best items for `interests` [B, K, D] without those `seen` [X] by the users in `rows` [X]."""
        if len(choice.deny):
            users = np.arange(len(interests))
            rows = np.concatenate([rows, np.repeat(users, len(choice.deny))])
            seen = np.concatenate([seen, np.tile(choice.deny, len(users))])
        exclude = Exclude(rows, seen) if len(rows) else None
        pool = min(count * POOL if choice.diversity else count, len(self.catalogue))
        found = self.index.search(interests, pool, exclude=exclude, allow=choice.allow)
        return self._diverse(found, count, choice.diversity) if choice.diversity else found

    def _diverse(self, found: Found, count: int, diversity: float) -> Found:
        """The `count` items of each row that make its answer diverse, in the order in which they are chosen."""
        width = min(count, len(self.catalogue))
        result = Found(*(np.zeros((len(found.item_idx), width), part.dtype) for part in vars(found).values()))
        for row, item_idx in enumerate(found.item_idx):
            left = np.flatnonzero(item_idx)
            category = found.interest[row, left] if self.labels is None else self.labels.of_items(item_idx[left])
            order = left[diverse_order(found.scores[row, left], category, count, diversity)]
            for part, chosen in zip(vars(found).values(), vars(result).values(), strict=True):
                chosen[row, : len(order)] = part[row, order]
        return result

    def _popular(self, count: int, choice: _Choice) -> Found:
        """What is popular now."""
        scores = self._recent.astype(np.float32)
        if choice.allow is not None:
            others = np.ones(len(scores), bool)
            others[choice.allow - 1] = False
            scores[others] = -np.inf
        scores[choice.deny - 1] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(count, len(scores))]
        found = np.where(np.isneginf(scores[best]), 0, best + 1)
        return Found(found[None], scores[best][None], np.full((1, len(best)), -1))

    def _answer(
        self, found: Found, place: int, interests: np.ndarray | None, history: _History, choice: _Choice
    ) -> Recommendations:
        """Row `place` of what was found, with ids and reasons."""
        ids, left = self.item_ids, np.count_nonzero(found.item_idx[place])
        item_idx, scores, interest = (part[place, :left] for part in vars(found).values())
        if interests is None:
            names = names_of(item_idx, interest, self.item_table[:1], self.labels)
            why = [Reason(-1, name) for name in names]
        else:
            why = reasons(
                item_idx,
                interest,
                history=history.item_idx[-self.max_length :],
                interests=interests,
                item_table=self.item_table,
                item_ids=ids,
                labels=self.labels,
            )
        columns = zip(item_idx.tolist(), scores.tolist(), why, strict=True)
        items = tuple(Recommendation(ids[number - 1], score, reason) for number, score, reason in columns)
        unknown = history.unknown + choice.unknown
        return Recommendations(items, tuple(dict.fromkeys(unknown)) if unknown else ())
