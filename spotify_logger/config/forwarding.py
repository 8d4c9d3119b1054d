"""The receivers to which plays are forwarded."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from spotify_logger.config.settings import visible_ascii, web_url
from spotify_logger.config.sources import FORWARD_PREFIXES, RawSetting
from spotify_logger.system.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """A receiver of plays that has ListenBrainz's API."""

    number: int  # of its settings, from 1 on
    setting: str  # the name of the one with its token
    url: str = field(repr=False)  # what comes before "/1/submit-listens"
    token: str = field(repr=False)

    @property
    def host(self) -> str:
        """Its host, and port if it has one: the part of the URL that is no secret."""
        return urlsplit(self.url).netloc


def targets(found: Mapping[str, RawSetting]) -> Iterator[ForwardTarget]:
    """Yield the receivers that are set; Misconfigured if one is only half set."""
    for number, prefix in enumerate(FORWARD_PREFIXES, start=1):
        url, token = found[f"{prefix}_URL"], found[f"{prefix}_TOKEN"]
        for missing, other in ((url, token), (token, url)):
            if other.value and not missing.value:
                raise Misconfigured(f"{missing.name} is missing: set it too, or remove {other.label}")
        if url.value:
            example = "https://api.listenbrainz.org or http://host:port/apis/listenbrainz"
            web_url(url, example, forbidden="@?#")
            base = re.sub(r"/+(1/*(submit-listens/*)?)?$", "", url.value)
            yield ForwardTarget(number, token.name, base, visible_ascii(token))
