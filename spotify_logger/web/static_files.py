"""Static files and the chart library; their URLs change with their content, so browsers cache them."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = Path(__file__).parent / "static"
CHART_PACKAGE, CHART_FILE = "chartkick", "django/static/chartkick/Chart.bundle.js"
"""Chart.js with its date adapter. Chartkick's own code is neither used nor imported."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DIGEST_LENGTH = 12
"""Characters of the digest in a URL."""
IMMUTABLE = "public, max-age=31536000, immutable"


class Assets:
    """All static files.

    Raises:
        Misconfigured: The chart library is not installed.
    """

    def __init__(self) -> None:
        self._paths = {path.name: path for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
        self._paths["chart.js"] = _chart_library()

    def url(self, name: str) -> str:
        """Return the URL path of a file, which changes with its content."""
        return f"/static/{_load(self._paths[name])[0]}/{name}"

    async def serve(self, request: Request) -> Response:
        """Serve a file."""
        path = self._paths.get(request.path_params["name"])
        if path is None:
            return Response("File not found.\n", 404, media_type="text/plain")
        digest, content = _load(path)
        headers = {
            "cache-control": IMMUTABLE if request.path_params["digest"] == digest else "no-cache",
            "vary": "accept-encoding",
            "etag": f'"{digest}"',
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(None, 304, headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
        return Response(content, 200, headers, MEDIA_TYPES[path.suffix])


@cache
def _load(path: Path) -> tuple[str, bytes]:
    """Return the digest of a file, and its content, kept gzipped only, as nearly all browsers accept that."""
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH], gzip.compress(content, 9, mtime=0)


def _chart_library() -> Path:
    spec = find_spec(CHART_PACKAGE)  # does not import it
    path = Path(spec.origin or "").parent / CHART_FILE if spec else Path()
    if not path.is_file():
        raise Misconfigured("the chart library is missing: pip install 'spotify-logger[web]'")
    return path
