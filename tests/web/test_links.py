"""Where rows and pages lead: things, plays, days, years and Spotify."""

from __future__ import annotations

import html
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import TRACKDONE
from spotify_logger.storage.bulk import Archive
from spotify_logger.web.views import plays
from tests.conftest import start_server
from tests.indexed_log import CatalogItem
from tests.web.log import write_play, write_status
from tests.web.page import PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAYLIST = f"spotify:playlist:{'P' * 22}"
BETH = "Beth and the Long Names Two"  # of which Spotify's ID is made: 22 letters
QUO = CatalogItem(f"track:{'Q' * 22}", "Veridis Quo", ["Daft Punk"], "Discovery", "D" * 22, "GB1")
SEXY = CatalogItem(f"track:{'S' * 22}", "Sexy Boy", ["Air, the band", BETH], "Moon Safari", "M" * 22, "FR1")
TALK = CatalogItem(f"episode:{'E' * 22}", "On Daft Punk", [], "A Show", "H" * 22)
DAY, HOUR = 86_400, 3600
THIS_YEAR = Zone().day(time.time()).year


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    """The page of a log of three years: 20 plays of late, some a year before, and one two years before."""
    server, folder = start_server(tmp_path_factory.mktemp("redis")), tmp_path_factory.mktemp("page")
    now = int(time.time())
    with closing(Archive(server.url)) as store:
        for number in range(20):
            item = (QUO, SEXY, TALK, QUO)[number % 4]
            device = {"device_name": "Kitchen & Bath"} if number % 2 else {"device_name": "Car"}
            context = {"context_uri": PLAYLIST} if item is SEXY else {}
            write_play(store, item, now - HOUR * (number + 1), end=TRACKDONE, **device, **context)
        for number in range(3):
            write_play(store, SEXY, now - DAY * 400 - HOUR * number, end=TRACKDONE)
        write_play(store, QUO, now - DAY * 401, end=TRACKDONE)
        write_play(store, QUO, now - DAY * 740, end=TRACKDONE)
        write_status(store, next_in=HOUR, login="ok")
    with pytest.MonkeyPatch.context() as patch, serve_page(settings_for(server.url, folder)) as page:
        patch.setattr(plays, "RECENT_PLAYS", 7)
        yield page
    server.stop()


def text_of(page: PageClient, target: str) -> str:
    answer = page.request(target)
    assert answer.status == 200, target
    return answer.text


def links(page: PageClient, target: str) -> set[str]:
    """Return the links of a view to others of the page."""
    main = text_of(page, target).partition("<main")[2].partition("</main>")[0]
    return {html.unescape(link) for link in re.findall(r'href="(/[^"#]*)', main)}


def turned(page: PageClient, target: str, way: str) -> list[str]:
    """Return the view at a target, and those that follow in one direction."""
    views = [text_of(page, target)]
    while found := re.search(rf'rel="{way}" href="([^"]+)"', views[-1]):
        target = f"/recent{html.unescape(found[1])}"
        views.append(text_of(page, target))
        assert len(views) < 20
    return views


def starts(view: str) -> list[str]:
    return re.findall(r'<time datetime="([^"]+)">', view)


def test_recent_leads_to_every_play_and_back(page: PageClient) -> None:
    older = turned(page, "/recent", "next")
    every = [start for view in older for start in starts(view)]
    assert len(every) == len(set(every)) == 25
    assert every == sorted(every, reverse=True)
    (last,) = re.findall(r'rel="next" href="([^"]+)"', older[-2])
    newer = turned(page, f"/recent{html.unescape(last)}", "prev")
    assert [starts(view) for view in newer] == [
        starts(older[-1]),
        *([starts(each) for each in older[-2::-1]]),
    ]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("device=Kitchen+%26+Bath", 10),
        (f"context={PLAYLIST}", 5),
        (f"track={QUO.key}", 12),
        (f"artist={quote(BETH)}", 8),
        (f"album=album:{SEXY.album_id}", 8),
        (f"show=show:{TALK.album_id}", 5),
        ("track=nothing+like+it", 0),
    ],
)
def test_the_plays_of_a_thing(page: PageClient, query: str, number: int) -> None:
    every = [start for view in turned(page, f"/recent?{query}", "next") for start in starts(view)]
    assert len(set(every)) == len(every) == number


def test_rows_lead_to_all_that_they_name_and_no_link_is_dead(page: PageClient) -> None:
    found = links(page, "/recent")
    for start in (
        "/track?",
        "/episode?",
        "/artist?",
        "/album?",
        "/show?",
        "/recent?device",
        "/recent?context",
        "/day/",
    ):
        assert any(link.startswith(start) for link in found), start
    albums = text_of(page, "/top/albums?all=1")
    assert 'class="byline"><a href="/artist?q=artist%3ADaftPunk">' in albums
    assert 'class="to-album" tabindex="-1" aria-hidden="true" href="/artist?q=Daft%20Punk">' in text_of(
        page, "/"
    )
    assert f"/artist?q={'artist%3AAirtheband'}" in found  # one artist, although a comma is in the name
    views = [
        "/",
        "/recent",
        *(f"/top/{kind}?all=1" for kind in ("tracks", "shows", "devices", "contexts")),
        "/year",
    ]
    seen = set(views)
    for view in views:
        for link in links(page, view) - seen:
            assert page.request(link).status in (200, 303), link
            seen.add(link)


def test_reviews_are_under_year_and_lead_to_all_figures(page: PageClient) -> None:
    for noun, period in (("year", f"{THIS_YEAR}"), ("month", f"{THIS_YEAR}-01")):
        view = f"/{noun}/{period}"
        assert '<a href="/year" aria-current="page">' in text_of(page, view)
        assert f"/stats?{noun}={period}" in links(page, view)
    assert f"/month/{THIS_YEAR}-01" in links(page, f"/year/{THIS_YEAR}")


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (f"/track?q={QUO.key}", QUO.key),
        (f"/album?q=album:{QUO.album_id}", f"album:{QUO.album_id}"),
        (f"/show?q=show:{TALK.album_id}", f"show:{TALK.album_id}"),
        (f"/episode?q={TALK.key}", TALK.key),
        (f"/artist?q={quote(BETH)}", f"artist:{BETH.replace(' ', '')}"),
        (f"/recent?context={PLAYLIST}", PLAYLIST.removeprefix("spotify:")),
    ],
)
def test_things_open_in_spotify(page: PageClient, view: str, name: str) -> None:
    assert f'href="https://open.spotify.com/{name.replace(":", "/")}"' in text_of(page, view)


def test_a_playlist_is_shown_by_its_id_as_nothing_else_is_known(page: PageClient) -> None:
    shown = f"<bdi>playlist/{'P' * 22}</bdi>"
    assert f'href="/recent?context={quote(PLAYLIST, safe="")}">{shown}</a>' in text_of(
        page, "/top/contexts?all=1"
    )
    assert f"· context {shown}" in text_of(page, f"/recent?context={PLAYLIST}")
    assert "· context <bdi>Discovery</bdi>" in text_of(page, f"/recent?context=spotify:album:{QUO.album_id}")


def test_a_page_lists_the_latest_plays_and_leads_to_all(page: PageClient) -> None:
    view = text_of(page, f"/track?q={QUO.key}").partition("Latest plays")[2]
    assert len(starts(view)) == 10
    assert f"/recent?track={html.escape(QUO.key.replace(':', '%3A'))}" in view


def test_a_show_has_a_page_with_its_episodes(page: PageClient) -> None:
    view = text_of(page, "/show?q=A+Show")
    assert "<strong>5 plays</strong>" in view
    assert "Episodes" in view
    assert f"/episode?q={TALK.key.replace(':', '%3A')}" in view
    assert "Did you mean" in text_of(page, "/show?q=A+Shov")


def test_every_year_of_the_log_can_be_chosen(page: PageClient) -> None:
    first = Zone().day(time.time() - DAY * 740).year
    for view, form in (("/top/tracks", "?year={}"), ("/calendar", "/{}"), ("/year", "/{}")):
        offered = links(page, view)
        for year in range(first, THIS_YEAR + 1):
            assert f"{view}{form.format(year)}" in offered
        assert f"{view}{form.format(first - 2)}" not in offered


def test_rankings_say_how_rows_moved_against_a_named_period(page: PageClient) -> None:
    view = text_of(page, "/top/tracks")
    assert "change from the 365 days before" in view
    rows = re.findall(r'<li>\s*<span class="rank.*?</li>', view, re.DOTALL)
    assert "Veridis Quo" in rows[0]
    assert re.search(r"up </span>1</span>\s*\+9", rows[0])  # from second place: 10 plays now, 1 before
    assert re.search(r"down </span>1</span>\s*\+2", rows[1])
    assert ">new</span>" in text_of(page, "/top/shows")
    assert "movement" not in text_of(page, "/top/tracks?all=1")
    assert "movement" not in text_of(page, "/?period=all")
    assert "change from the 365 days before" in text_of(page, "/?period=year")
    assert f"change from {THIS_YEAR - 1}: in places, and in plays" in text_of(page, f"/year/{THIS_YEAR}")
