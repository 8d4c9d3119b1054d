"""Static files and the chart library; their URLs change with their content, so browsers cache them."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = Path(__file__).parent / "static"
# Chart.js with its date adapter. Chartkick's own code is neither used nor imported.
CHART_PACKAGE, CHART_FILE = "chartkick", "django/static/chartkick/Chart.bundle.js"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """All static files; Misconfigured if the chart library is not installed."""

    def __init__(self) -> None:
        spec = find_spec(CHART_PACKAGE)  # does not import it
        if not spec:
            raise Misconfigured("the chart library is missing: pip install 'spotify-logger[web]'")
        paths = {path.name: path for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
        paths["chart.js"] = Path(spec.origin or "").parent / CHART_FILE
        self._files = {name: path.read_bytes() for name, path in paths.items()}
        self._digests = {name: hashlib.sha256(self._files[name]).hexdigest()[:12] for name in paths}

    def url(self, name: str) -> str:
        """Return the URL path of a file, which changes with its content."""
        return f"/static/{self._digests[name]}/{name}"

    async def serve(self, request: Request) -> Response:
        """Serve a file."""
        name = request.path_params["name"]
        if name not in self._files:
            return Response("File not found.\n", 404, media_type="text/plain")
        is_current = request.path_params["digest"] == self._digests[name]
        caching = "public, max-age=31536000, immutable" if is_current else "no-cache"
        media_type = MEDIA_TYPES[Path(name).suffix]
        return Response(self._files[name], headers={"cache-control": caching}, media_type=media_type)
