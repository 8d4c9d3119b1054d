"""What docs/dashboards.md gives to Home Assistant, Homepage, Prometheus and Grafana fits the API."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from jinja2 import Environment

from spotify_logger.core.forwarding import ReceiverStatus
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.state import to_json
from spotify_logger.web.api import ENDPOINTS
from tests.web.log import write_play, write_status
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

yaml: Any = pytest.importorskip("yaml")

PROJECT = Path(__file__).parents[2]
DOCUMENT = PROJECT / "docs" / "dashboards.md"
DASHBOARD = PROJECT / "deploy" / "grafana-dashboard.json"
SITE = "http://raspberry.local:8877"


class Loader(yaml.SafeLoader):  # type: ignore[misc] # it is Any
    """Reads secrets as Home Assistant does."""


Loader.add_constructor("!secret", lambda *_: "Bearer a-token")
home_assistant, homepage, prometheus = (
    yaml.load(block, Loader)
    for block in re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
)


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageClient]:
    with closing(Archive(redis_url)) as store:
        write_play(store)
        receiver = ReceiverStatus("FORWARD_TOKEN", "koito.example", 1, 0, "", "", stopped=False)
        about: dict[str, Any] = {
            "requests_24h": 1,
            "outbox": 0,
            "polls": '{"ok": 1}',
            "forwarding": to_json([receiver]),
        }
        write_status(store, **about, login_valid_until="2036-01-01T00:00:00Z")
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def ask(page: PageClient, url: str) -> Any:  # noqa: ANN401 - any JSON
    assert url.startswith(f"{SITE}/api/v1/")
    answer = page.request(url.removeprefix(SITE))
    assert answer.status == 200, answer.text
    return json.loads(answer.text)


def states(page: PageClient) -> dict[str, str]:
    """Return the states of Home Assistant's sensors."""
    found = {}
    for resource in home_assistant["rest"]:
        assert resource["headers"] == {"Authorization": "Bearer a-token"}
        value = ask(page, resource["resource"])
        for sensor in (*resource.get("sensor", ()), *resource.get("binary_sensor", ())):
            found[sensor["name"]] = (
                Environment().from_string(sensor["value_template"]).render(value_json=value)
            )
    return found


def test_home_assistant(page: PageClient, redis_url: str) -> None:
    assert states(page) == {
        "Spotify title": "Veridis Quo",
        "Spotify artists": "Daft Punk",
        "Spotify plays in 30 days": "1",
        "Spotify time in 30 days": "0.0",
        "Spotify artist of the week": "Daft Punk",
        "Spotify Logger": "True",
    }
    with closing(Archive(redis_url)) as store:
        store.delete_play(next(store.plays([second for second, _ in store.recent(1)]))[0])
        write_status(store, ago=7200)
    found = states(page)
    assert (found["Spotify title"], found["Spotify artists"]) == ("nothing", "nobody")
    assert (found["Spotify artist of the week"], found["Spotify Logger"]) == ("nobody", "False")


def test_homepage(page: PageClient) -> None:
    ((group,),) = (group.values() for group in homepage)
    (service,) = group[0].values()
    assert page.request(service["siteMonitor"].removeprefix(SITE)).status == 200
    widget = service["widget"]
    assert re.fullmatch(r"Bearer \{\{HOMEPAGE_VAR_\w+}}", widget["headers"]["Authorization"])
    answer = ask(page, widget["url"])
    for mapping in widget["mappings"]:
        value = answer
        for name in mapping["field"].split("."):
            value = value[name]
        assert isinstance(value, int), mapping
        assert mapping["format"] in ("number", "duration")


def test_prometheus_and_grafana(page: PageClient) -> None:
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"] == [{"targets": [urlsplit(SITE).netloc]}]
    text = page.request("/metrics").text
    metrics = set(re.findall(r"^(\w+)\{", text, re.MULTILINE))
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["query"] for each in dashboard["templating"]["list"]]
    named = set(re.findall(r"spotify_logger_\w+", " ".join(queries)))
    assert len(queries) > 10
    assert named - metrics == set()
    documented = set(re.findall(r"`(spotify_logger_\w+)`", DOCUMENT.read_text()))
    assert documented == metrics


def test_every_path_and_parameter_is_documented() -> None:
    rows = dict(re.findall(r"^\| (`/api/v1/.*?) \| (.*?) \|$", DOCUMENT.read_text(), re.MULTILINE))
    documented = set()
    for paths, parameters in rows.items():
        names = re.findall(r"`(\w+)`", parameters)
        names += ["since", "until", "year", "month", "last", "tz"] if "a period" in parameters else []
        first, *others = re.findall(r"`(?:/api/v1/)?([\w/]+)`", paths)
        folder = first.rpartition("/")[0] if first.startswith("top/") else ""
        for path in (first, *(f"{folder}/{other}" if folder else other for other in others)):
            documented.add((re.sub(r"(\w+)/ID", r"\1/{\1}", path), frozenset(names)))
    assert documented == {(path, frozenset(each.parameters)) for path, each in ENDPOINTS.items()}
