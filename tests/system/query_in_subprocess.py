"""Runs a query as the page runs large ones, in a subprocess; the exit code is 0 if the answer is right."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from spotify_logger.config import settings
from spotify_logger.web.query_service import QueryService

if __name__ == "__main__":
    service = QueryService(settings.load(Path.cwd(), os.environ, need_login=False))
    answer = asyncio.run(service._query_in_subprocess(["count", "--", "quo"]))
    sys.exit(answer["plays"] != 1)
