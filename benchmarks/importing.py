"""How long does an import take, and how much memory? A whole history, into a real server.

    python benchmarks/importing.py [--rows 300000]

The rows are made up, and packed into a zip of files of 16,000 rows, which is what Spotify's largest hold. The
zip is imported twice with the real command: first everything is new, then everything is known. Then our own
export of it is imported. For Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from answers import TRACKS_PER_PLAY, UNTIL, YEARS

from spotify_logger.core.batched import batched
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.demo import start_server
from tests.testbed.synthetic_history import SyntheticHistory

ROWS_PER_FILE = 16_000
REASONS = {"trackdone": "trackdone", "skipped": "fwdbtn", "stopped": "logout"}


def write_export(path: Path, rows: int) -> None:
    """Write the zip of an export."""
    history = SyntheticHistory(rows, YEARS, int(rows * TRACKS_PER_PLAY), UNTIL)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for number, plays in enumerate(batched(history.live(), ROWS_PER_FILE)):
            name = f"Spotify Extended Streaming History/Streaming_History_Audio_{number}.json"
            archive.writestr(name, _text([_row(play.started_ms, play.to_hash()) for play in plays]))


def _text(rows: list[dict[str, object]]) -> str:
    # A single emoji makes Python take four bytes for every character of a file.
    rows[0]["master_metadata_track_name"] = "\N{HEADPHONE}"
    return json.dumps(rows, ensure_ascii=False)


def _row(started_ms: int, fields: dict[str, str | int]) -> dict[str, object]:
    """Return the row of a play, with all the fields that Spotify's have."""
    ended_ms = started_ms + int(fields["ms_played"])
    return {
        "ts": to_iso(-(-ended_ms // 1000) * 1000).replace(".000", ""),
        "platform": "Android OS 13 API 33 (Fairphone, FP4)",
        "ms_played": fields["ms_played"],
        "conn_country": "DE",
        "ip_addr": "192.0.2.1",
        "master_metadata_track_name": fields["name"],
        "master_metadata_album_artist_name": fields["artists"],
        "master_metadata_album_album_name": fields["album"],
        "spotify_track_uri": fields["uri"],
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "audiobook_title": None,
        "audiobook_uri": None,
        "audiobook_chapter_uri": None,
        "audiobook_chapter_title": None,
        "reason_start": "trackdone",
        "reason_end": {"trackdone": "trackdone", "skipped": "fwdbtn"}.get(
            str(fields["end_reason"]), "logout"
        ),
        "shuffle": False,
        "skipped": fields["end_reason"] == "skipped",
        "offline": False,
        "offline_timestamp": started_ms // 1000,
        "incognito_mode": False,
    }


def run_command(url: str, *arguments: str | Path) -> str:
    """Run a command, and return what it took and counted.

    Raises:
        SystemExit: It failed.
    """
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        command = subprocess.Popen(
            [sys.executable, "-P", "-m", "spotify_logger", *arguments, "--json"],
            env={**os.environ, "REDIS_URL": url},
            stdout=out,
        )
        _, status, usage = os.wait4(command.pid, 0)
        seconds = time.perf_counter() - begun
        command.returncode = os.waitstatus_to_exitcode(status)
        if command.returncode:
            sys.exit(f"{arguments} failed")
        out.seek(0)
        answer = json.load(out)
    counts = ", ".join(f"{answer[name]:,} {name}" for name in ("rows", "new", "imported") if answer.get(name))
    return (
        f"{counts}: {seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of processor time, "
        f"peak {usage.ru_maxrss / 1024:.0f} MB"
    )


def main() -> None:
    """Write an export, import it twice, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300_000, help="rows of the export (default: 300000)")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_export(options.write, options.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my_spotify_data.zip")
        # In a process of its own: a command starts with the peak memory of the process that starts it.
        writer = [sys.executable, __file__, "--rows", str(options.rows), "--write", str(path)]
        subprocess.run(writer, check=True)
        server, _ = start_server(Path(folder, "redis"))
        try:
            for _ in range(2):
                print(run_command(server.url, "import", path), flush=True)
            ours = Path(folder, "plays.jsonl")
            subprocess.run(
                [sys.executable, "-P", "-m", "spotify_logger", "export", "--output", ours],
                env={**os.environ, "REDIS_URL": server.url},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            print("our own export:", run_command(server.url, "import", ours), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
