"""The description of the API holds: whatever is asked, the answer is as described."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import HealthCheck, settings

from spotify_logger.storage.bulk import Archive
from spotify_logger.web.api import ENDPOINTS
from spotify_logger.web.openapi import description
from tests.indexed_log import CatalogItem
from tests.web.log import write_play, write_status
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.storage.embedded_server import EmbeddedServer

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
schema = schemathesis.openapi.from_dict(json.loads(description()))

SHOWN = {"track": "quo", "artist": "DaftPunk", "album": "d", "episode": "e", "show": "s"}
GIVEN = {**SHOWN, "q": "veridis", "n": "3", "min": "0"}
"""Values that find something, as random texts hardly ever do."""


@pytest.fixture(scope="module")
def url(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with a few plays."""
    with closing(Archive(redis_server.url)) as store:
        for number, end in enumerate(("trackdone", "skipped", "trackdone", "open")):
            write_play(store, second=1_795_370_400 + 600 * number, end=end)
        write_play(store, CatalogItem("episode:e", "On Daft Punk", [], "A show", "s"), 1_795_380_000)
        write_status(store, next_in=3600)
    with serve_page(settings_for(redis_server.url, tmp_path_factory.mktemp("page"))) as page:
        yield f"http://127.0.0.1:{page.port}"


def test_it_is_where_it_should_be_and_says_how_rows_lead_on(url: str) -> None:
    found = requests.get(f"{url}/api/v1/openapi.json", timeout=30).json()
    assert found == json.loads(description())
    for noun in SHOWN:
        assert "`text`" in found["paths"][f"/api/v1/{noun}/{{{noun}}}"]["get"]["parameters"][0]["description"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_what_is_found_is_as_described(url: str, path: str) -> None:
    names = re.findall(r"{(\w+)}", path)
    case = schema[f"/api/v1/{path}"]["GET"].Case(
        path_parameters={name: GIVEN[name] for name in names},
        query={name: text for name, text in GIVEN.items() if name in ENDPOINTS[path].parameters},
    )
    response = case.call(base_url=url)
    assert response.status_code == 200
    case.validate_response(response)


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=10, suppress_health_check=[*HealthCheck])
def test_whatever_is_asked_is_answered_as_described(url: str, case: Any) -> None:  # noqa: ANN401 - schemathesis's
    # The schema does not say which texts are times, nor which parameters exclude each other.
    case.call_and_validate(base_url=url, excluded_checks=[checks.positive_data_acceptance])
