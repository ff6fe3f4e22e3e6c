"""The page and its files: from memory, with the right headers, and nothing from elsewhere."""

import re

import pytest

from pipeline.http.files import file, page_files


def test_types_and_tags():
    assert file("a.js", b"").media_type == "text/javascript; charset=utf-8"
    assert file("a.svg", b"").media_type == "image/svg+xml; charset=utf-8"
    assert file("a.unheard", b"").media_type == "application/octet-stream"
    assert file("a.css", b"1").tag != file("a.css", b"2").tag == file("b.css", b"2").tag


@pytest.mark.parametrize("path", ["/", "/openapi.json", *page_files()])
def test_a_file_is_served_once(client, path):
    answer = client.get(path)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    head = client.head(path)
    assert head.status_code == 200 and not head.content and head.headers["content-length"] == str(len(answer.content))


def test_headers_of_every_answer(client):
    for answer in (client.get("/"), client.get("/none"), client.post("/recommend", json={}), client.get("/metrics")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer" and "server" not in answer.headers


def test_only_files_of_the_page_are_served(client):
    for path in ("/../app.py", "/..%2fapp.py", "/app.py", "/page/", "//etc/passwd", "/docs", "/redoc", "/index.html"):
        assert client.get(path).status_code == 404, path


def test_the_page_asks_nobody_else():
    for path, content in page_files().items():
        text = content.content.decode()
        assert not re.search(r"(src|href|action)=[\"']?(https?:)?//|@import|url\((https?:)?//", text), path
