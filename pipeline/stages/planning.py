"""What stage one would ask and cover with other numbers of clusters, before anything is asked (`eimf plan`)."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import ClusterSettings
from eimf.errors import DataError, SettingError
from eimf.esim.prompt import load_template
from eimf.store.artifact import Artifact, Store
from pipeline.backends.engines import Engines
from pipeline.console import info, progress
from pipeline.recipe import Recipe
from pipeline.stages.asking import Asking
from pipeline.stages.interests import questions_of, reply_parser
from pipeline.stages.item_table import require_item_table, require_texts
from pipeline.stages.rates import Run, describe_rates, median_rate, runs_of
from pipeline.stages.requests import RequestWriter
from pipeline.stages.stage import Stage, find, find_or_build
from pipeline.stages.stage_one import engines_of, stage_one
from pipeline.stages.users import choose_typical, cluster_vectors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from eimf.data.histories import Histories
    from eimf.esim.coverage import Coverage

_FACTORS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Numbers of clusters that are compared by default, relative to that of the recipe."""
EXACT_WORK = 2 * 10**8
"""Most users x clusters that are clustered as stage 4 would; beyond that, centroids are those of a sample of users."""
_SAMPLE, _SAMPLE_PER_CLUSTER = 50_000, 16
"""Users of a sample, at least and per cluster."""
_SAMPLE_ROUNDS = 8
"""Most rounds of k-means over a sample."""
RENDERED = 1_000
"""Most prompts of a number of clusters that are rendered."""
_PART = 256
"""Prompts that are rendered between two signs of progress."""


@dataclass(frozen=True)
class Choice:
    """One number of clusters: how many `typical` users it has, how their clusters are covered, by all users and by
    `groups`, and how many requests and tokens of prompts are still to be sent. `rendered` prompts were counted, which
    stand for all `typical` ones; the centroids are those of `sampled` users, 0 if of all."""

    clusters: int
    typical: int
    coverage: "Coverage"
    groups: "Mapping[str, Coverage]"
    pending: int
    prompt_tokens: int
    rendered: int
    sampled: int


@dataclass(frozen=True)
class Plan:
    """What is known before the LLM is asked: the `choices` in order, the number of clusters that the recipe has,
    `present`, and the `knee` of the mean coverage (the place in `choices`). A reply is expected to have `reply_tokens`,
    by what `reply_source` says, and the LLM to take `rate` tokens a second, by `rate_source`; None if nobody knows."""

    choices: tuple[Choice, ...]
    present: int
    knee: int | None
    reply_tokens: float
    reply_source: str
    rate: float | None
    rate_source: str


@dataclass(frozen=True)
class _Chosen:
    """What one number of clusters leads to, before prompts are looked at."""

    clusters: int
    typical: "pa.Table"
    num_typical: int
    coverage: "Coverage"
    groups: "Mapping[str, Coverage]"
    sampled: int


def make_plan(
    recipe: Recipe, store: Store, counts: Sequence[int], rate: float | None = None, engines: Engines | None = None
) -> Plan:
    """The plan of a recipe for these numbers of clusters, or by default an eighth to four times its own, and for an LLM
    that takes `rate` tokens a second, or as many as in earlier runs. Builds stages 1 to 3 if the store lacks them, and
    nothing else; asks nothing. Raises SettingError for numbers of clusters that the data do not have, and for an
    extension."""
    if recipe.extend.enabled:
        problem = "an extension keeps the clusters of its base, so there are no numbers of clusters to compare"
        raise SettingError("extend.base", problem, "plan without it, or run `eimf extend`")
    store.remove_stale()
    require_item_table(recipe, "plan")
    from eimf.esim.knee import knee

    with closing(engines or engines_of(recipe, store)) as engines:
        artifacts = _user_vectors(recipe, store, engines)
        chosen, present = _choose(recipe, artifacts, counts)
        with_requests, known = _with_requests(recipe, store, engines, artifacts, chosen)
        runs = runs_of(store, engines.generator_identity)
    bend = knee([one.clusters for one in with_requests], [one.coverage.mean for one in with_requests])
    reply_tokens, reply_source = _expected_reply(known, runs, recipe.llm.max_tokens)
    rate_source = "--rate" if rate is not None else describe_rates(runs)
    rate = median_rate(runs) if rate is None else rate
    return Plan(tuple(with_requests), present, bend, reply_tokens, reply_source, rate, rate_source)


def _expected_reply(known: Sequence[int], runs: Sequence[Run], most: int) -> tuple[float, str]:
    """Tokens of a reply, and whose mean that is: of replies to these requests, of earlier runs, or the most allowed."""
    if known:
        return statistics.fmean(known), f"the mean of {len(known):,} replies that the store has to these requests"
    if runs:
        return statistics.fmean(run.reply_tokens for run in runs), f"the mean of {len(runs)} earlier runs of this LLM"
    return float(most), "llm.max_tokens, the most there can be"


def _user_vectors(recipe: Recipe, store: Store, engines: Engines) -> dict[str, Artifact]:
    """Stages 1 to 3. Raises SettingError if they would ask the LLM."""
    artifacts: dict[str, Artifact] = {}
    for stage in stage_one(recipe, engines, store):
        if find(stage, store, artifacts) is None:
            _say_what_it_takes(stage, artifacts, recipe.item_knowledge.asks_llm)
        artifacts[stage.kind], _ = find_or_build(stage, store, artifacts)
        if stage.kind == "dataset":
            require_texts(artifacts["dataset"], "plan")
        if stage.kind == "user_vectors":
            break
    return artifacts


def _say_what_it_takes(stage: Stage, artifacts: Mapping[str, Artifact], knowledge_of_llm: bool) -> None:
    if stage.kind == "item_knowledge" and knowledge_of_llm:
        problem = "the store lacks what is known about the items, and a plan asks nothing"
        hint = "plan with item_knowledge.enabled=false: it changes neither clusters nor prompts"
        raise SettingError("item_knowledge.enabled", problem, hint)
    if stage.kind == "item_vectors":
        items = int(artifacts["dataset"].summary_number("items"))
        info(f"       not built yet: encoder.model has to read the texts of {items:,} items; `eimf esim` reuses them")


def _choose(recipe: Recipe, artifacts: Mapping[str, Artifact], counts: Sequence[int]) -> tuple[list[_Chosen], int]:
    from eimf.esim.cluster import cluster_count
    from eimf.esim.coverage import length_groups, rare_groups
    from pipeline.stages.load import histories_of

    settings, histories = recipe.cluster, histories_of(artifacts)
    vectors = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    num_present = int((histories.num_train > 0).sum())
    groups = {**length_groups(histories.num_train), **rare_groups(histories)}
    if settings.method != "kmeans":
        if counts:
            problem = f"{list(counts)}, but cluster.method={settings.method!r} finds the number itself"
            raise SettingError("plan --clusters", problem, "leave it out")
        one = _chosen(recipe, settings, vectors, histories, groups)
        return [one], one.clusters
    present = cluster_count(num_present, settings.count, settings.share, settings.max_count)
    most = max(num_present // 2, present)
    if wrong := [count for count in counts if count > num_present]:
        problem = f"{wrong[0]} clusters for {num_present} users"
        raise SettingError("plan --clusters", problem, f"ask for {num_present} or fewer")
    wanted = counts or [min(max(1, round(factor * present)), most) for factor in _FACTORS]
    chosen = []
    for count in sorted(set(wanted)):
        info(f"       {count:,} clusters")
        chosen.append(_chosen(recipe, settings.model_copy(update={"count": count}), vectors, histories, groups))
    return chosen, present


def _chosen(
    recipe: Recipe,
    settings: ClusterSettings,
    vectors: "np.ndarray",
    histories: "Histories",
    groups: "Mapping[str, np.ndarray]",
) -> _Chosen:
    """Clusters and typical users, as stages 4 and 5 would find them; or with centroids of a sample of the users, to
    which all are assigned."""
    import numpy as np

    from eimf.esim.cluster import clusters_around
    from eimf.esim.coverage import cosines_to_typical, coverage_of
    from eimf.esim.typical import Population

    users, sampled = np.flatnonzero(histories.num_train > 0), 0
    if settings.count is not None and len(users) * settings.count > EXACT_WORK:
        sampled = min(max(_SAMPLE, _SAMPLE_PER_CLUSTER * settings.count), len(users))
        drawn = np.random.default_rng(settings.seed).choice(users, sampled, replace=False)
        quick = settings.model_copy(update={"iterations": min(settings.iterations, _SAMPLE_ROUNDS)})
        of_sample, _ = cluster_vectors(quick, vectors[np.sort(drawn)], recipe.runtime.threads)
        with progress("assigning", len(users), "users") as on_progress:
            clusters = clusters_around(vectors, of_sample.centroids, on_progress)
    else:
        clusters, _ = cluster_vectors(settings, vectors, recipe.runtime.threads)
    population = Population(clusters.cluster, clusters.similarity, histories.num_train, vectors, histories)
    typical = choose_typical(settings, recipe.prompt.max_titles, population)
    of_typical = vectors[typical[schema.USER].to_numpy()]
    cosines = cosines_to_typical(vectors, clusters.cluster, typical, of_typical)
    parts = {name: cosines[group] for name, group in groups.items()}
    return _Chosen(
        len(clusters.centroids),
        typical,
        typical.num_rows,
        coverage_of(cosines[users]),
        {name: coverage_of(part) for name, part in parts.items()},
        sampled,
    )


def _with_requests(
    recipe: Recipe, store: Store, engines: Engines, artifacts: Mapping[str, Artifact], chosen: Sequence[_Chosen]
) -> tuple[list[Choice], list[int]]:
    """The choices with their requests, and the tokens of the replies that the store has to any of them."""
    import numpy as np

    random = np.random.default_rng(recipe.cluster.seed)
    samples = [np.sort(random.permutation(one.typical[schema.USER].to_numpy())[:RENDERED]) for one in chosen]
    requests = _rendered(recipe, engines, artifacts, np.unique(np.concatenate(samples)))
    questions = questions_of(requests, recipe.llm, engines)
    asking = Asking(store, recipe.runtime.reply_chunk_size, recipe.llm.retries)
    template = load_template(recipe.prompt.template, recipe.folder)
    replies = asking.known(engines.generator_identity, questions, reply_parser(recipe.llm, template))
    pending = replies.pending()
    renderer = engines.renderer()
    tokens = {key: renderer.count_tokens(questions[key].prompt) for key in pending}
    key_of = dict(zip(requests[schema.USER].to_pylist(), requests[schema.REQUEST_KEY].to_pylist(), strict=True))
    choices = []
    for one, sample in zip(chosen, samples, strict=True):
        unanswered = {key_of[user] for user in sample.tolist() if user in key_of} & tokens.keys()
        stands_for = one.num_typical / len(sample)
        choices.append(
            Choice(
                clusters=one.clusters,
                typical=one.num_typical,
                coverage=one.coverage,
                groups=one.groups,
                pending=round(stands_for * len(unanswered)),
                prompt_tokens=round(stands_for * sum(tokens[key] for key in unanswered)),
                rendered=len(sample),
                sampled=one.sampled,
            )
        )
    return choices, [replies.last(key).row[schema.REPLY_TOKENS] for key in questions if key not in pending]


def _rendered(recipe: Recipe, engines: Engines, artifacts: Mapping[str, Artifact], users: "np.ndarray") -> "pa.Table":
    """The requests about these users: each is rendered once, however many choices have the user. Raises DataError if
    there is none."""
    import pyarrow as pa

    template = load_template(recipe.prompt.template, recipe.folder)
    writer, parts = RequestWriter(recipe.prompt, recipe.llm, template, engines, artifacts), []
    with progress("rendering prompts", len(users), "prompts") as on_progress:
        for start in range(0, len(users), _PART):
            part = users[start : start + _PART].tolist()
            parts.append(writer.write(part))
            on_progress(len(part))
    requests = pa.concat_tables(parts)
    if not requests.num_rows:
        problem = f"no typical user of {len(users)} has an item with a title or another text in training"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    return requests
