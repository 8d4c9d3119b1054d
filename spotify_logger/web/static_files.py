"""Static files and the chart library; their URLs change with their content, so browsers cache them."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = Path(__file__).parent / "static"
CHART_PACKAGE, CHART_FILE = "chartkick", "django/static/chartkick/Chart.bundle.js"
"""Chart.js with its date adapter. Chartkick's own code is neither used nor imported."""
CHART_SCRIPT = "chart.js"
MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
DIGEST_LENGTH = 12
"""Characters of the digest in a URL."""
IMMUTABLE = "public, max-age=31536000, immutable"


class Asset:
    """A static file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.media_type = MEDIA_TYPES[path.suffix]

    @cached_property
    def gzipped(self) -> bytes:
        """The gzipped content; only this is kept in memory, as all browsers accept it."""
        return gzip.compress(self._path.read_bytes(), 9, mtime=0)

    @cached_property
    def digest(self) -> str:
        """The digest of the content, for the URL and the ETag."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()[:DIGEST_LENGTH]


class Assets:
    """All static files.

    Raises:
        Misconfigured: The chart library is not installed.
    """

    def __init__(self) -> None:
        self._assets = {path.name: Asset(path) for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
        self._assets[CHART_SCRIPT] = Asset(_chart_library())

    def url(self, name: str) -> str:
        """Return the URL path of a file, which changes with its content."""
        return f"/static/{self._assets[name].digest}/{name}"

    async def serve(self, request: Request) -> Response:
        """Serve a file."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response("File not found.\n", 404, media_type="text/plain")
        is_current = request.path_params["digest"] == asset.digest
        headers = {
            "cache-control": IMMUTABLE if is_current else "no-cache",
            "vary": "accept-encoding",
            "etag": f'"{asset.digest}"',
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                asset.gzipped, media_type=asset.media_type, headers=headers | {"content-encoding": "gzip"}
            )
        return Response(gzip.decompress(asset.gzipped), media_type=asset.media_type, headers=headers)


def _chart_library() -> Path:
    # Located without importing the package.
    spec = importlib.util.find_spec(CHART_PACKAGE)
    locations = spec.submodule_search_locations if spec else None
    for location in locations or ():
        path = Path(location, CHART_FILE)
        if path.is_file():
            return path
    raise Misconfigured("the chart library is missing: pip install 'spotify-logger[web]'")
