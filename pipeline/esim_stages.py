"""Stages 1 to 9 (`make esim`): from raw files to the sealed ESIM artifact. Each row of the flow table is one stage
here.

Heavy libraries are imported inside the build functions on purpose: if every stage is a hit, none is loaded.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.errors import DataError
from eimf.esim.prompt import load_template
from eimf.store import keys
from eimf.store.artifact import Draft
from eimf.store.replies import ReplyStore
from pipeline.console import Waiting, progress, say
from pipeline.dataset_stage import build_dataset, dataset_configuration
from pipeline.run import Artifacts, Run, Stage, this_process

if TYPE_CHECKING:
    from eimf.esim.parse import Parsed

Facts = dict[str, Any]


def _encoder_configuration(run: Run) -> dict[str, Any]:
    return {"encoder": run.engines.encoder_identity}


def _encode(run: Run, texts: list[str], label: str) -> Any:
    """Unit vectors of `texts` as an Arrow column; the encoder is loaded only where there is a text."""
    from eimf.esim.encode import encode_texts, to_column

    if not texts:
        return None
    batch, encoder = run.recipe.speed.encode_batch, run.engines.encoder()
    with progress(label, len(set(texts)), "texts") as tick:
        return to_column(encode_texts(encoder, texts, batch, tick))


def _build_item_vectors(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import pyarrow as pa

    items = made["dataset"].table("items", [schema.ITEM, schema.TEXT])
    vectors = _encode(run, items[schema.TEXT].to_pylist(), "encoding items")
    width = vectors.type.list_size
    draft.write_table("vectors", pa.table([items[schema.ITEM], vectors], schema=schema.item_vectors(width)))
    return {"items": items.num_rows, "width": width}


def _training_events(made: Artifacts) -> tuple[Any, Any]:
    """Training events of all users, user by user: item_idx [E] and offsets [U + 1]."""
    import numpy as np

    events = made["dataset"].table("events", [schema.USER, schema.ITEM, schema.SPLIT])
    train = events[schema.SPLIT].to_numpy() == schema.TRAIN
    user = events[schema.USER].to_numpy()
    offsets = np.searchsorted(user[train], np.arange(int(user[-1]) + 2))
    return events[schema.ITEM].to_numpy()[train], offsets


def _build_user_vectors(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column
    from eimf.esim.user_vectors import user_vectors

    items, offsets = _training_events(made)
    vectors = user_vectors(items, offsets, schema.vectors_of(made["item_vectors"].table("vectors")))
    users = pa.array(np.arange(len(vectors), dtype=np.int32))
    draft.write_table("vectors", pa.table([users, to_column(vectors)], schema=schema.user_vectors(vectors.shape[1])))
    return {"users": len(vectors)}


def _cluster_configuration(run: Run) -> dict[str, Any]:
    return {"cluster": run.recipe.cluster.model_dump(mode="json")}


def _build_clusters(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.cluster import cluster_count, cluster_users, total_ticks
    from eimf.esim.encode import to_column

    settings, vectors = run.recipe.cluster, schema.vectors_of(made["user_vectors"].table("vectors"))
    count = cluster_count(len(vectors), settings.count, settings.share, settings.max_count)
    iterations, seed, threads = settings.iterations, settings.seed, run.recipe.speed.threads
    with progress("clustering", total_ticks(len(vectors), count, iterations), "users") as tick:
        clusters = cluster_users(vectors, count, iterations=iterations, seed=seed, threads=threads, on_progress=tick)
    users = np.arange(len(vectors), dtype=np.int32)
    draft.write_table("clusters", pa.table([users, clusters.cluster, clusters.similarity], schema=schema.CLUSTERS))
    numbers = np.arange(len(clusters.centroids), dtype=np.int32)
    centroids = pa.table([numbers, to_column(clusters.centroids)], schema=schema.centroids(vectors.shape[1]))
    draft.write_table("centroids", centroids)
    fewer = {"asked_for": count} if len(numbers) < count else {}  # there are fewer different users than clusters
    return {"clusters": len(numbers), **fewer, "mean_similarity": round(float(clusters.similarity.mean()), 4)}


def _typical_configuration(run: Run) -> dict[str, Any]:
    return {"typical": run.recipe.typical.model_dump(mode="json")}


def _build_typical_users(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import numpy as np

    from eimf.esim.typical import nearest_to_centroid

    clusters = made["clusters"].table("clusters")
    _, offsets = _training_events(made)
    history, similarity = np.diff(offsets), clusters[schema.SIMILARITY].to_numpy()
    chosen = nearest_to_centroid(
        clusters[schema.CLUSTER].to_numpy(), similarity, history, run.recipe.typical.min_history
    )
    draft.write_table("typical_users", chosen)
    return {"typical_users": chosen.num_rows}


def _requests_configuration(run: Run) -> dict[str, Any]:
    settings = run.recipe.prompt
    template = load_template(settings.template, run.recipe.folder)
    return {
        "prompt": settings.model_dump(mode="json", exclude={"template"}),
        "template": template.model_dump(mode="json"),
        "generator": run.engines.generator_identity,
    }


def _build_requests(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import pyarrow as pa

    from eimf.esim.prompt import PromptWriter, shown_history

    settings, generator = run.recipe.prompt, run.engines.generator_identity
    writer = PromptWriter(load_template(settings.template, run.recipe.folder), run.engines.renderer())
    items, offsets = _training_events(made)
    titles = made["dataset"].table("items", [schema.TITLE])[schema.TITLE].to_pylist()
    typical = made["typical_users"].table("typical_users")[schema.USER].to_pylist()
    rows = []
    for user in typical:
        shown = shown_history(
            items[offsets[user] : offsets[user + 1]], titles, settings.max_titles, settings.title_chars
        )
        if shown is not None:
            prompt = writer.write(shown.titles)
            rows.append((keys.request_key(generator, prompt), user, prompt, shown.items, shown.last_position))
    if not rows:
        found = f"no typical user of {len(typical)} has an item with a title in training"
        raise DataError("dataset.columns.title", found, "name a column with titles: the LLM reads them")
    draft.write_table("requests", pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.REQUESTS))
    return {"requests": len(rows), "without_titles": len(typical) - len(rows)}


def _interests_configuration(run: Run) -> dict[str, Any]:
    return {"retries": run.recipe.llm.retries}


def _build_interests(run: Run, made: Artifacts, draft: Draft) -> Facts:
    from eimf.esim.generate import Replies, ask, interests_table
    from eimf.esim.parse import parse_reply
    from eimf.esim.summary import check_any, copied_evidence, counts

    settings, requests = run.recipe.llm, made["requests"].table("requests")
    template = load_template(run.recipe.prompt.template, run.recipe.folder)
    examples = template.example_phrases()
    prompts = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.PROMPT].to_pylist(), strict=True))
    shown = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.HISTORY].to_pylist(), strict=True))

    @cache
    def parse(key: str, reply: str) -> "Parsed":
        return parse_reply(reply, len(shown[key]), examples, settings.max_interests)

    def readable(key: str, reply: str) -> bool:
        return key in shown and parse(key, reply).reason is None

    generator = keys.digest(run.engines.generator_identity)
    rows = ReplyStore(run.store.root, generator)
    waiting = Waiting("asks the same LLM")
    with run.store.lock(
        f"replies-{generator}", this_process(), waiting
    ):  # two runs do not ask about the users that they share twice
        replies = Replies(rows.read(), readable, settings.retries)
        due = sum(replies.next_attempt(key) is not None for key in prompts)
        with progress("asking the LLM", due, "replies") as tick:
            chunk = run.recipe.speed.chunk
            sent = ask(run.engines.generator, prompts, replies, chunk=chunk, save=rows.append, tick=tick)
    table = interests_table(requests, replies, parse)
    check_any(table)
    draft.write_table("interests", table)
    facts = {"llm_requests": sent, **counts(table), "copied_evidence": copied_evidence(table, parse, template)}
    _say_what_was_cut(facts, settings.max_tokens)
    return facts


def _say_what_was_cut(facts: Facts, max_tokens: int) -> None:
    if facts["truncated"]:
        cut = f"{facts['truncated']} of {facts['users']} replies were cut by llm.max_tokens={max_tokens}"
        say(f"      {cut}: their whole entries are kept; a higher llm.max_tokens asks all users again")


def _build_interest_vectors(run: Run, made: Artifacts, draft: Draft) -> Facts:
    import pyarrow as pa

    rows = made["interests"].table("interests", [schema.USER, schema.INTERESTS]).to_pylist()
    flat = [(row[schema.USER], number, text) for row in rows for number, text in enumerate(row[schema.INTERESTS])]
    vectors = _encode(run, [text for _, _, text in flat], "encoding interests")
    width = vectors.type.list_size if vectors is not None else 1
    columns = [pa.array([row[0] for row in flat], pa.int32()), pa.array([row[1] for row in flat], pa.int32())]
    column = vectors if vectors is not None else pa.array([], schema.vector_type(width))
    draft.write_table("vectors", pa.table([*columns, column], schema=schema.interest_vectors(width)))
    return {"interests": len(flat), "distinct": len({text for _, _, text in flat})}


def _nothing(run: Run) -> dict[str, Any]:
    return {}


def _build_esim(run: Run, made: Artifacts, draft: Draft) -> Facts:
    from eimf.esim.bundle import esim_interests, esim_users

    typical = made["typical_users"].table("typical_users")
    interests = esim_interests(typical, made["interest_vectors"].table("vectors"))
    users = esim_users(made["clusters"].table("clusters"), made["requests"].table("requests"))
    items = made["item_vectors"].table("vectors")
    draft.write_table("items", items)
    draft.write_table("users", users)
    draft.write_table("interests", interests)
    with_interests = len(interests[schema.CLUSTER].unique())
    return {
        "users": users.num_rows,
        "clusters": typical.num_rows,
        "with_interests": with_interests,
        "interests": interests.num_rows,
    }


STAGES = (
    Stage(1, "dataset", 2, (), dataset_configuration, build_dataset),
    Stage(2, "item_vectors", 1, ("dataset",), _encoder_configuration, _build_item_vectors),
    Stage(3, "user_vectors", 2, ("dataset", "item_vectors"), _nothing, _build_user_vectors),
    Stage(4, "clusters", 2, ("user_vectors",), _cluster_configuration, _build_clusters),
    Stage(5, "typical_users", 1, ("dataset", "clusters"), _typical_configuration, _build_typical_users),
    Stage(6, "requests", 2, ("dataset", "typical_users"), _requests_configuration, _build_requests),
    Stage(7, "interests", 2, ("requests",), _interests_configuration, _build_interests),
    Stage(8, "interest_vectors", 1, ("interests",), _encoder_configuration, _build_interest_vectors),
    Stage(
        9,
        "esim",
        1,
        ("dataset", "item_vectors", "clusters", "typical_users", "requests", "interest_vectors"),
        _nothing,
        _build_esim,
    ),
)
