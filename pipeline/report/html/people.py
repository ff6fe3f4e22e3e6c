"""The map of users, coloured by cluster, with the interests that the LLM inferred for the largest ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eimf import schema
from eimf.esim.user_map import UserMap, map_users
from pipeline.report.card.described import count, cut
from pipeline.report.card.plots import Axis
from pipeline.report.html.document import Section
from pipeline.report.html.stage_one import StageOne
from pipeline.report.markup import Markup, join, tag
from pipeline.stages.load import histories_of

_WIDTH, _HEIGHT, _MARGIN = 460, 400, 14
_LABEL_HEIGHT, _LETTER = 15, 7.2
"""Of a label, and the width of a letter in it."""
_LONGEST_LABEL, _LONGEST_INTEREST = 26, 60
_LEAST = 3
"""Users of a map, and numbers of a vector that has two directions."""


@dataclass(frozen=True)
class LargeCluster:
    """One of the largest clusters: its number, its users, and the interests that the LLM inferred for it."""

    number: int
    users: int
    interests: tuple[str, ...]


@dataclass(frozen=True)
class LabelledMap:
    """The map of the users of a dataset. `group` [P]: which of the `clusters` each user on the map is in, -1 for a
    smaller one. `users` have a cluster, `others` is the number of all clusters."""

    name: str
    map: UserMap
    group: np.ndarray
    clusters: tuple[LargeCluster, ...]
    users: int
    all_clusters: int
    has_texts: bool


def people_section(stages: Sequence[StageOne]) -> Section | None:
    """A map for each dataset; None if there is none to draw."""
    maps = [labelled for stage in stages if (labelled := collect_map(stage)) is not None]
    if not maps:
        return None
    return Section("people", "Users, and what they are interested in", join(*map(_figure, maps)))


def collect_map(stage: StageOne) -> LabelledMap | None:
    """The map of one dataset; None if the store lacks its vectors, or too few users or directions differ."""
    if not stage.has("dataset", "item_vectors"):
        return None
    users, interests = stage.esim.table("users"), stage.esim.table("interests", [schema.INTEREST_ID, schema.CLUSTER])
    item_vectors = schema.vectors_of(stage.artifacts["item_vectors"].table("vectors", [schema.VECTOR]))
    cluster = users[schema.CLUSTER].to_numpy()
    in_cluster = int((cluster >= 0).sum())
    if in_cluster < _LEAST or item_vectors.shape[1] < _LEAST:
        return None
    drawn = map_users(histories_of(stage.artifacts), item_vectors, cluster)
    place = {number: group for group, number in enumerate(drawn.largest.tolist())}
    group = np.array([place.get(number, -1) for number in cluster[drawn.user_idx].tolist()])
    texts = _texts(stage, drawn.largest, interests[schema.CLUSTER].to_numpy(), interests[schema.INTEREST_ID].to_numpy())
    clusters = tuple(map(LargeCluster, drawn.largest.tolist(), drawn.sizes.tolist(), texts))
    has_texts = stage.has("interests")
    return LabelledMap(stage.name, drawn, group, clusters, in_cluster, int(cluster.max()) + 1, has_texts)


def _texts(
    stage: StageOne, largest: np.ndarray, cluster: np.ndarray, interest_id: np.ndarray
) -> Iterable[tuple[str, ...]]:
    """The interests of each of the largest clusters; none if the store does not have their texts."""
    if not stage.has("interests"):
        return [()] * len(largest)
    texts = stage.artifacts["interests"].table("interests", [schema.INTEREST])[schema.INTEREST]
    return [tuple(dict.fromkeys(texts.take(interest_id[cluster == number]).to_pylist())) for number in largest]


def _figure(of: LabelledMap) -> Markup:
    first, second = of.map.shown_variance
    drawn = len(of.map.user_idx)
    shown = f"All {count(drawn)}" if drawn == of.users else f"{count(drawn)} of {count(of.users)}"
    about = (
        f"{shown} users in {count(of.all_clusters)} clusters. Each dot is the mean text of a user's training items, "
        f"along the two directions in which users differ most. The map shows {_share(first + second)} of their "
        f"variance ({_share(first)} to the right, {_share(second)} upwards): users who are close here may be far "
        "apart in what is not shown, and clusters were formed by all of it."
    )
    note = "" if of.has_texts else tag("p", "The store has no texts of interests, so clusters have numbers only.")
    return tag(
        "div",
        tag("h3", tag("bdi", of.name)),
        tag("p", about),
        note,
        tag("div", tag("figure", _plot(of), class_="user-map"), _legend(of), class_="map-with-legend"),
    )


def _share(of: float) -> str:
    return f"{100 * of:.0f}\N{NO-BREAK SPACE}%"


def _plot(of: LabelledMap) -> Markup:
    x, y = of.map.position.T
    x_axis, y_axis = _axis(x, _MARGIN, _WIDTH - _MARGIN), _axis(y, _HEIGHT - _MARGIN, _MARGIN)
    points = np.column_stack([_clipped(x_axis, x), _clipped(y_axis, y)])
    dots = [_dots(points[of.group == group], group) for group in range(-1, len(of.clusters))]
    title = f"Map of users of {of.name}"
    named = "; ".join(f"cluster {large.number}: {', '.join(large.interests)}" for large in of.clusters)
    description = f"The largest clusters. {named}." if of.has_texts else "The largest clusters are coloured."
    content = join(tag("title", title), tag("desc", description), *dots, *_labels(of, points))
    return tag("svg", content, role="img", **{"viewBox": f"0 0 {_WIDTH} {_HEIGHT}"})


def _axis(values: np.ndarray, begin: float, end: float) -> Axis:
    """Without the outermost users, who would press all others together; they are drawn at the edge."""
    low, high = np.quantile(values, (0.002, 0.998)).tolist()
    return Axis(low, high, begin, end)


def _clipped(axis: Axis, values: np.ndarray) -> np.ndarray:
    return np.array([axis(value) for value in np.clip(values, axis.low, axis.high).tolist()])


def _dots(points: np.ndarray, group: int) -> Markup:
    """One path of dots: a line of length 0 with round ends each, in a sixth of the bytes of circles."""
    class_ = f"dots group-{group}" if group >= 0 else "dots"
    return tag("path", class_=class_, d="".join(f"M{x:.0f} {y:.0f}h0" for x, y in points))


def _labels(of: LabelledMap, points: np.ndarray) -> Iterator[Markup]:
    """A label in the middle of each large cluster, moved down until it covers no other one."""
    middles = [np.median(points[of.group == group], axis=0).tolist() for group in range(len(of.clusters))]
    placed: list[tuple[float, float, float]] = []
    for group in sorted(range(len(middles)), key=lambda number: middles[number][1]):
        x, y = middles[group]
        text = _label(of.clusters, group)
        half = _LETTER / 2 * len(text)
        x = min(max(x, half), _WIDTH - half)
        while any(abs(y - below) < _LABEL_HEIGHT and abs(x - at) < half + width for at, below, width in placed):
            y += 1
        placed.append((x, y, half))
        yield tag("text", text, class_="cluster-label", x=x, y=y, text_anchor="middle")


def _label(clusters: Sequence[LargeCluster], group: int) -> str:
    """Its place in the legend, and its first interest, if possible one that no other of the clusters has."""
    others = {text for number, large in enumerate(clusters) for text in large.interests if number != group}
    interests = clusters[group].interests
    if not interests:
        return str(group + 1)
    telling = next((text for text in interests if text not in others), interests[0])
    return f"{group + 1} {cut(telling, _LONGEST_LABEL)}"


def _legend(of: LabelledMap) -> Markup:
    rows = [
        tag(
            "li",
            tag("span", class_=f"swatch group-{group}", aria_hidden="true"),
            tag("span", tag("b", f"{count(large.users)} users"), ". ", _listed(large.interests)),
        )
        for group, large in enumerate(of.clusters)
    ]
    return tag("ol", *rows, class_="map-legend")


def _listed(interests: Sequence[str]) -> Markup:
    if not interests:
        return tag("span", "No interest was inferred.")
    first, *others = (tag("bdi", cut(text, _LONGEST_INTEREST)) for text in interests)
    return join(first, *(join("; ", text) for text in others))
