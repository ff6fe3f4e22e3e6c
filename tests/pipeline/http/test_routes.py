"""What is asked over HTTP is answered as in process."""

import json
from dataclasses import asdict

import pytest

from eimf.serving.recommend import Recommender
from pipeline.http.reload import load
from tests.pipeline.http.bundles import ITEM_IDS, LABELS, MENU, TITLES


@pytest.fixture(scope="module")
def model(bundle) -> Recommender:
    return load(bundle).recommender


def expected(model: Recommender, *history: str, **options: object) -> list[dict]:
    titles = dict(zip(ITEM_IDS, TITLES, strict=True))
    items = model.recommend_one(list(history), **options).items
    return [{**asdict(item), "title": titles[item.item_id]} for item in items]


def test_a_history_is_answered_as_in_process(client, model):
    answer = client.post("/recommend", json={"history": ["i001", "i002", "x"], "count": 3})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "bundle": model.digest[:12], "items": expected(model, "i001", "i002", count=3), "unknown": ["x"]
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude_seen": False},
        {"allow": ["i005", "i006", "i007"]},
        {"deny": ["i003"], "diversity": 0.5},
        {"count": 1, "exclude_seen": None, "allow": None},
    ],
)
def test_options_are_passed_on(client, model, options):
    answer = client.post("/recommend", json={"history": ["i004", "i009"], **options})
    assert answer.json()["items"] == expected(model, "i004", "i009", **options)


def test_without_a_history_what_is_popular_is_recommended(client, model):
    for request in ({}, {"history": []}, {"history": ["x"]}):
        items = client.post("/recommend", json=request).json()["items"]
        assert items == expected(model) and [item["item_id"] for item in items] == ITEM_IDS[:10]
        assert items[0]["reason"] == {"interest": -1, "label": None, "because": None}


def test_a_batch_is_its_requests_in_their_order(client):
    requests = [{"history": ["i001"], "count": 2}, {"history": []}, {"history": ["i007", "x"], "deny": ["i002"]}]
    single = [client.post("/recommend", json=request).json() for request in requests]
    answer = client.post("/recommend/batch", json={"requests": requests}).json()
    assert {answer["bundle"]} == {one.pop("bundle") for one in single}
    assert answer["results"] == single


def test_the_menu_is_picked_from(client, model):
    menu = client.get("/menu", params={"count": 2}).json()
    assert [entry["name"] for entry in menu["interests"]] == [LABELS[number] for number in MENU[:2]]
    assert menu["interests"][0]["items"] == [{"item_id": ITEM_IDS[row], "title": TITLES[row]} for row in (2, 3)]
    for history in ([], ["i004", "x"]):
        answer = client.post("/recommend", json={"interests": ["stars", "unheard of"], "history": history}).json()
        result = model.recommend_for(["stars", "unheard of"], history)
        assert [item["item_id"] for item in answer["items"]] == [item.item_id for item in result.items]
        assert answer["unknown"] == list(result.unknown) and "unheard of" in answer["unknown"]
    assert answer["items"][0]["reason"]["because"] in (None, "i004")


def test_items_are_found_by_title_and_by_id(client):
    def find(query: str) -> list[str]:
        answer = client.get("/items", params={"query": query, "count": 3}).json()
        assert all(item["title"] == TITLES[ITEM_IDS.index(item["item_id"])] for item in answer["items"])
        return [item["item_id"] for item in answer["items"]]

    assert find("star") == ["i003", "i006", "i009"]
    assert find("i060") == ["i060"] and find("none of these") == []
    assert find("") == find("   ") == ["i001", "i002", "i003"]  # what people have begun to like lately
    named = client.get("/items?item_id=i060&item_id=nope&item_id=i002&count=1").json()["items"]
    assert named == [{"item_id": "i060", "title": None}, {"item_id": "i002", "title": TITLES[1]}]


def test_the_bundle_tells_what_a_client_has_to_know(client, model):
    assert client.get("/bundle").json() == {
        "bundle": model.digest[:12], "backbone": "mean", "interests": 2, "num_items": 60, "uses_timestamps": False,
        "keep_seen": False,
    }  # fmt: skip


def test_health_and_readiness_name_the_bundle(client, model, connect, bundle):
    for route, state in (("/health", "ok"), ("/ready", "ready")):
        assert client.get(route).json() == {"status": state, "bundle": model.digest[:12]}
    empty = connect(bundle, is_loaded=False)
    assert empty.get("/health").json() == {"status": "ok", "bundle": None}
    assert empty.get("/ready").status_code == 503 and empty.get("/ready").json()["status"] == "loading"
    answer = empty.post("/recommend", json={})
    assert answer.status_code == 503 and answer.headers["retry-after"] and "none is loaded" in answer.text
    client.app.is_stopping = True
    assert client.get("/ready").status_code == 503 and client.post("/recommend", json={}).status_code == 200
    client.app.is_stopping = False


def test_metrics_count_requests_by_route_and_status(connect, bundle):
    client = connect(bundle)
    for request in ({"history": ["i001"]}, {"history": ["i002"]}, {"count": 0}):
        client.post("/recommend", json=request)
    client.get("/other/path")
    lines = client.get("/metrics").text.splitlines()
    assert 'eimf_requests_total{route="/recommend",status="200"} 2.0' in lines
    assert 'eimf_requests_total{route="/recommend",status="422"} 1.0' in lines
    assert 'eimf_requests_total{route="other",status="404"} 1.0' in lines  # not a series for each path
    assert 'eimf_request_seconds_count{route="/recommend"} 3.0' in lines
    assert {'eimf_rejected_total{reason="request"} 1.0', 'eimf_rejected_total{reason="route"} 1.0'} <= set(lines)
    assert {"eimf_histories_total 2.0", "eimf_queue_length 0.0", "eimf_requests_in_progress 1.0"} <= set(lines)
    assert f'eimf_bundle_processes{{bundle="{client.reloader.current.name}"}} 1.0' in lines


def test_a_log_line_for_each_request_without_ids_unless_asked_for(connect, bundle):
    for with_ids in (False, True):
        client = connect(bundle, with_ids=with_ids)
        client.post("/recommend", json={"history": ["i001", "secret"]})
        client.get("/items?query=secret")
        client.get("/secret")
        lines = [json.loads(line) for line in client.log.getvalue().splitlines()]
        first = next(line for line in lines if line["event"] == "request")
        assert {"time", "level", "ms"} <= first.keys() and first["events"] == 2 and first["status"] == 200
        assert first["bundle"] == client.reloader.current.name and first["route"] == "/recommend"
        assert first.get("ids") == ([{"history": ["i001", "secret"], "interests": []}] if with_ids else None)
        assert client.log.getvalue().count("secret") == with_ids
