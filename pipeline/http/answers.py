"""From a request to the recommender, and from its result to the answer. Runs in the threads of the gate."""

from collections.abc import Sequence
from typing import Any

from eimf.errors import DataError
from eimf.serving.result import Recommendations
from pipeline.http.answer_schemas import BundleAnswer
from pipeline.http.reload import Served
from pipeline.http.schemas import ItemsQuery, RecommendRequest

_OF_MODEL = BundleAnswer.model_fields.keys() - {"bundle"}


def answer_one(served: Served, request: RecommendRequest) -> dict[str, Any]:
    """The answer for one request."""
    if not request.interests:
        result = served.recommender.recommend_one(
            request.history,
            request.count,
            times=request.times,
            exclude_seen=request.exclude_seen,
            allow=request.allow,
            deny=request.deny,
            diversity=request.diversity,
        )
    else:
        result = served.recommender.recommend_for(
            request.interests,
            request.history,
            request.count,
            times=request.times,
            exclude_seen=request.exclude_seen,
            allow=request.allow,
            deny=request.deny,
            diversity=request.diversity,
        )
    return {"bundle": served.name, **_as_json(served, result)}


def answer_batch(served: Served, requests: Sequence[RecommendRequest]) -> dict[str, Any]:
    """The answers of a batch. Raises DataError that names the request."""
    results = []
    for number, request in enumerate(requests):
        try:
            answer = answer_one(served, request)
        except DataError as error:
            raise DataError(f"requests.{number}.{error.field}", error.problem, error.hint) from error
        del answer["bundle"]
        results.append(answer)
    return {"bundle": served.name, "results": results}


def answer_menu(served: Served, count: int) -> dict[str, Any]:
    """The first `count` interests of the menu."""
    interests = [
        {"name": entry.name, "items": [_item(served, item_id) for item_id in entry.item_ids]}
        for entry in served.recommender.menu(count)
    ]
    return {"bundle": served.name, "interests": interests}


def answer_items(served: Served, query: ItemsQuery) -> dict[str, Any]:
    """The items whose title fits the query, or those that it names."""
    known = served.recommender.catalogue.item_idx(query.item_id) > 0
    named = [item_id for item_id, is_known in zip(query.item_id, known, strict=True) if is_known]
    item_ids = named if query.item_id else served.search.find(query.query, query.count)
    return {"bundle": served.name, "items": [_item(served, item_id) for item_id in item_ids]}


def answer_bundle(served: Served) -> dict[str, Any]:
    """What a client has to know of the model."""
    return {"bundle": served.name, **served.model.model_dump(include=_OF_MODEL)}


def _item(served: Served, item_id: str) -> dict[str, Any]:
    return {"item_id": item_id, "title": served.recommender.catalogue.title(item_id)}


def _as_json(served: Served, result: Recommendations) -> dict[str, Any]:
    title = served.recommender.catalogue.title
    items = [
        {
            "item_id": item.item_id,
            "title": title(item.item_id),
            "score": item.score,
            "reason": {"interest": item.reason.interest, "label": item.reason.label, "because": item.reason.because},
        }
        for item in result.items
    ]
    return {"items": items, "unknown": list(result.unknown)}
