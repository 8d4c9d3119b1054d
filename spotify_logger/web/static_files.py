"""Static files and the chart library; their URLs change with their content, so browsers cache them.

Also the manifest and the offline page, with which browsers install the page as an app.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from spotify_logger.system.errors import Misconfigured
from spotify_logger.web.templating import CurrentListener

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from spotify_logger.web.templating import Templates

FOLDER = Path(__file__).parent / "static"
# Chart.js with its date adapter. Chartkick's own code is neither used nor imported.
CHART_PACKAGE, CHART_FILE = "chartkick", "django/static/chartkick/Chart.bundle.js"
NO_CACHE = {"cache-control": "no-cache"}
MANIFEST, SERVICE_WORKER, OFFLINE = "/manifest.webmanifest", "/service-worker.js", "/offline"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}


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

    async def manifest(self, _: Request) -> Response:
        """Describe the page as an app that browsers can install."""
        icons = [
            {"src": self.url("mark.svg"), "type": "image/svg+xml", "sizes": "any", "purpose": "any"},
            {"src": self.url("icon-192.png"), "type": "image/png", "sizes": "192x192", "purpose": "any"},
            {"src": self.url("icon-512.png"), "type": "image/png", "sizes": "512x512", "purpose": "any"},
            {"src": self.url("icon-512.png"), "type": "image/png", "sizes": "512x512", "purpose": "maskable"},
        ]
        about = {
            "id": "/",
            "name": "Spotify Logger",
            "short_name": "Logger",
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": "#0e1311",
            "theme_color": "#0f1714",
            "icons": icons,
        }
        return JSONResponse(about, media_type="application/manifest+json", headers=NO_CACHE)

    def service_worker(self, templates: Templates) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of the script that shows the offline page without a server."""
        about = {"path": OFFLINE, "listener": CurrentListener("", ()), "notice": None}
        page = templates.render_text("offline.html", **about)
        digest, files = hashlib.sha256(page.encode()).hexdigest()[:12], re.findall(r'"(/static/[^"]+)"', page)
        script = templates.render_text("service_worker.js", digest=digest, files=[OFFLINE, *files])

        async def serve(_: Request) -> Response:
            return Response(script, media_type="text/javascript", headers=NO_CACHE)

        return serve
