"""Every limit is a clear error: a status, and one line that names the field."""

import json
from pathlib import Path

import pytest

import pipeline
from pipeline.http.limits import Limits

JSON = {"content-type": "application/json"}
SMALL = {
    "body_bytes": 2000, "head_bytes": 1500, "history": 5, "batch": 2, "count": 21, "interests": 2, "filter_ids": 3,
    "id_length": 9, "query_length": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def small(connect, bundle):
    return connect(bundle, **SMALL)


def refused(answer, status: int, field: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json" and "\n" not in answer.text
    error = answer.json()["error"]
    assert answer.json().keys() == {"error"} and error.keys() == {"field", "problem", "hint"}
    assert error["field"] == field and all(error.values()) and len(answer.text) < 1000
    assert "SET" not in answer.text and "setting" not in answer.text  # which a recipe has, not a request


@pytest.mark.parametrize(
    "field, request_",
    [
        ("history", {"history": ["i001"] * 6}),
        ("history", {"history": ["x" * 10]}),
        ("times", {"times": [1] * 6}),
        ("interests", {"interests": ["a", "b", "c"]}),
        ("interests", {"interests": ["x" * 10]}),
        ("count", {"count": 22}),
        ("count", {"count": 0}),
        ("count", {"count": 10**30}),
        ("count", {"count": "3"}),
        ("count", {"count": 3.5}),
        ("count", {"count": True}),
        ("allow", {"allow": ["a", "b", "c", "d"]}),
        ("deny", {"deny": ["a", "b", "c", "d"]}),
        ("diversity", {"diversity": 1.5}),
        ("diversity", {"diversity": "0"}),
        ("exclude_seen", {"exclude_seen": 1}),
        ("history.1", {"history": ["i001", 2, 3, 4]}),
        ("history", {"history": "i001"}),
        ("history", {"history": None}),
        ("times.0", {"times": [1e16]}),
        ("request", {"histroy": ["i001"]}),
        ("request", {f"field{number}": 1 for number in range(50)}),
        ("request", [1]),
        ("request", "text"),
        ("request", None),
    ],
)
def test_a_field_beyond_its_limit_or_of_another_type(small, field, request_):
    refused(small.post("/recommend", content=json.dumps(request_), headers=JSON), 422, field)


def test_numbers_at_a_limit_are_taken(small):
    request = {"history": ["i001"] * 5, "count": 21.0, "allow": ["i00000001"], "diversity": 1}
    assert small.post("/recommend", json=request).status_code == 200


def test_a_batch_names_the_request(small):
    for requests, field in (
        ([{}] * 3, "requests"),
        ([], "requests"),
        ([{}, {"count": 22}], "requests.1.count"),
        ([{}, {"count": "x"}], "requests.1.count"),
        ([{}, {"x": 1}], "requests.1"),
    ):
        refused(small.post("/recommend/batch", json={"requests": requests}), 422, field)
    refused(small.post("/recommend/batch", json={}), 422, "requests")


@pytest.mark.parametrize(
    "query, field",
    [
        ("count=22", "count"),
        ("count=x", "count"),
        ("count=0", "count"),
        ("x=1", "request"),
        ("query=1234567", "query"),
        ("item_id=" + "&item_id=".join("x" * 22), "item_id"),
        ("item_id=0123456789", "item_id"),
    ],
)
def test_queries(small, query, field):
    refused(small.get(f"/items?{query}"), 422, field)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b'{"history":["\xff"]}', b'{"history":["\\ud800"]}', b'{"diversity":NaN}',
        b'{"diversity":-Infinity}', b"[" * 1500, b'{"a":' * 300, b"{}{}", b"'x'", b'{"history":[1,]}', b"\x00",
    ],
)  # fmt: skip
def test_what_is_not_json(small, body):
    answer = small.post("/recommend", content=body, headers=JSON)
    refused(answer, *((400, "body") if body else (422, "request")))


def test_a_body_that_is_too_large_also_without_a_length(small):
    refused(small.post("/recommend", content=b" " * 2001, headers=JSON), 413, "body")
    refused(small.post("/recommend", content=(b" " * 100 for _ in range(21)), headers=JSON), 413, "body")
    fits = (b" " * 100 for _ in range(19))
    assert small.post("/recommend", content=(*fits, b"{}"), headers=JSON).status_code == 200


def test_bodies_that_are_too_large_together(connect, bundle):
    client = connect(bundle, buffered_bytes=1000)
    for _ in range(3):  # what was held is given back
        refused(client.post("/recommend", content=b" " * 1001, headers=JSON), 503, "body")
        assert client.post("/recommend", content=b"{}" + b" " * 900, headers=JSON).status_code == 200


def test_the_head(small):
    refused(small.get("/health", headers={"x": "x" * 1500}), 431, "request")
    refused(small.get("/items?query=" + "x" * 1500), 431, "request")


def test_other_routes_methods_and_types(small):
    refused(small.get("/recommended"), 404, "/recommended")
    refused(small.get("/" + "x" * 1000), 404, "/" + "x" * 34 + " ... (1,001 characters) ... " + "x" * 35)
    answer = small.get("/recommend")
    refused(answer, 405, "method")
    assert answer.headers["allow"] == "POST"
    for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        refused(small.post("/recommend", content=b"{}", headers={"content-type": media_type}), 415, "content-type")
    with_charset = {"content-type": "Application/JSON; charset=utf-8"}
    assert small.post("/recommend", content=b"{}", headers=with_charset).status_code == 200


def test_the_rate(connect, bundle):
    client = connect(bundle, rate=0.01, burst_seconds=300)
    assert [client.post("/recommend", json={}).status_code for _ in range(3)] == [200, 200, 200]
    answer = client.post("/recommend", json={})
    refused(answer, 429, "requests")
    assert 99 <= int(answer.headers["retry-after"]) <= 100
    assert client.get("/items").status_code == 429
    assert client.get("/health").status_code == client.get("/metrics").status_code == 200
    assert 'eimf_rejected_total{reason="rate"} 2.0' in client.get("/metrics").text


def test_each_request_of_a_batch_counts(connect, bundle):
    client = connect(bundle, rate=1, burst_seconds=3)
    assert client.post("/recommend/batch", json={"requests": [{}] * 9}).status_code == 200
    assert 6 <= int(client.post("/recommend", json={}).headers["retry-after"]) <= 7


def test_limits_are_in_the_openapi_document(small):
    schemas = small.get("/openapi.json").json()["components"]["schemas"]
    request = schemas["RecommendRequest"]["properties"]
    assert request["history"]["maxItems"] == 5 and request["history"]["items"]["maxLength"] == 9
    assert request["count"]["maximum"] == 21 and schemas["BatchRequest"]["properties"]["requests"]["maxItems"] == 2
    assert all(field["description"] for name in schemas for field in [schemas[name]] if "Request" in name)


def test_every_limit_is_used():
    code = "".join(path.read_text() for path in (Path(pipeline.__file__).parent / "http").glob("*.py"))
    assert [name for name in Limits.model_fields if f"limits.{name}" not in code] == []


def test_an_error_of_ours_is_one_line_in_the_log(connect, bundle):
    client = connect(bundle)
    client.reloader.current = "no bundle"
    refused(client.post("/recommend", json={}), 500, "server")
    line = next(line for line in map(json.loads, client.log.getvalue().splitlines()) if line["event"] == "error")
    assert line["level"] == "error" and "Traceback" in line["trace"]
    assert client.get("/health").status_code == 500  # and the process goes on
