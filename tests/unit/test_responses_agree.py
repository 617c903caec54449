"""A refused client reads the same text from nginx, httpd and the backend, which have no file in common."""

import re

import pytest
from server import REPOSITORY

NGINX = (REPOSITORY / "nginx" / "nginx.conf").read_text()
HTTPD = (REPOSITORY / "apache" / "httpd.conf").read_text()
ANSWERS = (REPOSITORY / "apache" / "answers").glob("*.asis")
BACKEND = " ".join(file.read_text() for file in (REPOSITORY / "backend" / "wss").rglob("*.py"))
# Of the proxies: httpd has one text for every bad request, and a backend does not say that it is gone.
TEXTS = [
    *((status, text) for status, text in re.findall(r'ErrorDocument (\d+) "(.+)\\n"', HTTPD) if status != "400"),
    *((file.stem, file.read_text().rpartition("\n\n")[2].strip()) for file in ANSWERS),
]


def test_the_texts_are_those_of_the_known_statuses() -> None:
    assert sorted(status for status, _ in TEXTS) == ["403", "403", "405", "413", "421", "426", "503"]


@pytest.mark.parametrize("text", [text for _, text in TEXTS])
def test_nginx_has_the_text_of_httpd(text: str) -> None:
    assert f'"{text}\\n";' in NGINX


@pytest.mark.parametrize("text", [text for status, text in TEXTS if status not in ("413", "503")])
def test_the_backend_has_the_text_of_the_proxies(text: str) -> None:
    assert f'"{text}"' in re.sub(r'"\s+"', "", BACKEND)
