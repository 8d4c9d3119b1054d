from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_logger.config import settings as config
from spotify_logger.config import sources
from spotify_logger.config.settings import NotConfigured, Settings
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOMEBODY = 54_321
"""The number of a user and a group that nobody has."""
SECRET = "0123456789abcdef0123456789abcdef"
AUTH = f'client_id = "id-of-auth"\nclient_secret = "{SECRET}"\nredirect_uri = "http://127.0.0.1:7777/auth"\n'
DOTENV = "# ours\nexport SPOTIFY_CLIENT_ID=id-of-dotenv\nPOLL_MAX='20' # seconds\n"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is concealed, forgotten after each test."""
    concealed: set[str] = set()
    monkeypatch.setattr(log, "_secrets", concealed)
    return concealed


def load(directory: Path, environ: Mapping[str, str] | None = None, *, need_login: bool = True) -> Settings:
    home = {"HOME": str(directory / "home"), "SPOTIFY_CLIENT_ID": "id-of-environment"}
    return config.load(directory, {**home, **(environ or {})}, need_login=need_login)


def homeless() -> Path:
    """Stand in for `Path.home` where a user has none."""
    raise RuntimeError


def test_nothing_but_an_id_is_needed(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(
        client_id="id-of-environment",
        client_secret="",
        redirect_uri="http://127.0.0.1:8888/callback",
        refresh_token="",
        redis_url="redis://127.0.0.1:6379/0",
        redis_is_default=True,
        listener="",
        redis_prefix="",
        state_dir=tmp_path / "home/.local/state/spotify-logger",
        poll_min=5.0,
        poll_max=30.0,
        api_url="https://api.spotify.com",
        accounts_url="https://accounts.spotify.com",
        alert_url="",
        heartbeat_url="",
        web_password="",
    )


SAID = {
    "SPOTIFY_CLIENT_ID": "an-id",
    "SPOTIFY_CLIENT_SECRET": "a-secret",
    "SPOTIFY_REDIRECT_URI": "https://example.org/back?from=here",
    "SPOTIFY_REFRESH_TOKEN": "a-token",
    "REDIS_URL": "rediss://user:pass%2Fword@example.org:6380/2",
    "REDIS_PREFIX": "flat 2:",
    "STATE_DIR": "state",
    "POLL_MIN": "0.5",
    "POLL_MAX": "0.5",
    "SPOTIFY_API_URL": "http://127.0.0.1:8080/api/",
    "SPOTIFY_ACCOUNTS_URL": "http://[::1]:8080",
    "ALERT_URL": "https://me:pw@ntfy.example/topic?x=1",
    "HEARTBEAT_URL": "https://beat.example/abc",
    "WEB_PASSWORD": "open, sesame",
}


def test_everything_can_be_said(tmp_path: Path) -> None:
    assert load(tmp_path, SAID) == Settings(
        client_id="an-id",
        client_secret="a-secret",
        redirect_uri="https://example.org/back?from=here",
        refresh_token="a-token",
        redis_url="rediss://user:pass%2Fword@example.org:6380/2",
        redis_is_default=False,
        listener="",
        redis_prefix="flat 2:",
        state_dir=tmp_path / "state",
        poll_min=0.5,
        poll_max=0.5,
        api_url="http://127.0.0.1:8080/api",
        accounts_url="http://[::1]:8080",
        alert_url="https://me:pw@ntfy.example/topic?x=1",
        heartbeat_url="https://beat.example/abc",
        web_password="open, sesame",
    )


def test_environment_wins_over_dotenv_and_dotenv_over_auth(tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text(AUTH)
    (tmp_path / ".env").write_text(DOTENV)
    silent = {"SPOTIFY_CLIENT_ID": ""}
    assert load(tmp_path).client_id == "id-of-environment"
    assert load(tmp_path, silent).client_id == "id-of-dotenv"
    assert load(tmp_path, silent).poll_max == 20.0
    (tmp_path / ".env").unlink()
    settings = load(tmp_path, silent)
    assert (settings.client_id, settings.client_secret) == ("id-of-auth", SECRET)
    assert settings.redirect_uri == "http://127.0.0.1:7777/auth"


@pytest.mark.parametrize(
    "pasted", ["abc", " abc\n", '"abc"', "'abc' ", "\u201cabc\u201d", "\ufeffabc\u200b", "\tabc\r\n", "`abc`"]
)
def test_what_was_copied_along_is_taken_off(tmp_path: Path, pasted: str) -> None:
    assert load(tmp_path, {"SPOTIFY_CLIENT_SECRET": pasted}).client_secret == "abc"


def test_dotenv_values_are_taken_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfSPOTIFY_CLIENT_SECRET=a${HOME}b\r\nREDIS_PREFIX=\r\nOTHER\r\n"
    )
    settings = load(tmp_path)
    assert settings.client_secret == "a${HOME}b"
    assert settings.redis_prefix == ""


def test_the_example_is_as_good_as_nothing(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "auth.example.py"
    (tmp_path / "auth.py").write_bytes(example.read_bytes())
    with pytest.raises(NotConfigured, match=r"SPOTIFY_CLIENT_ID is missing: fill in /.*/auth\.py, or"):
        load(tmp_path, {"SPOTIFY_CLIENT_ID": " "})
    assert load(tmp_path).redirect_uri == sources.DEFAULTS["SPOTIFY_REDIRECT_URI"]


def test_who_never_asks_spotify_needs_no_id(tmp_path: Path) -> None:
    assert load(tmp_path, {"SPOTIFY_CLIENT_ID": ""}, need_login=False).client_id == ""


MAY_HOLD_SECRETS = {
    "SPOTIFY_CLIENT_SECRET",
    "SPOTIFY_REFRESH_TOKEN",
    "REDIS_URL",
    "ALERT_URL",
    "HEARTBEAT_URL",
}
WRONG = [
    ("SPOTIFY_CLIENT_ID", "ab cd", "copy it again"),
    ("SPOTIFY_CLIENT_ID", "ab\x00cd", "copy it again"),
    ("SPOTIFY_CLIENT_ID", "\u0430bcd", "copy it again"),
    ("SPOTIFY_CLIENT_SECRET", "ab\ncd", "copy it again"),
    ("SPOTIFY_REFRESH_TOKEN", "ab\x7fcd", "copy it again"),
    ("SPOTIFY_REDIRECT_URI", "http://localhost:8888/callback", r"has refused since 2025; use http://127\.0\.0\.1:8888/"),
    ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1/callback", "has no port; use"),
    ("SPOTIFY_REDIRECT_URI", "http://192.168.1.2:8888/callback", "must start with https"),
    ("SPOTIFY_REDIRECT_URI", "http://example.org:8888/callback", "must start with https"),
    ("SPOTIFY_REDIRECT_URI", "https://u:p@example.org/", "is not a redirect URI"),
    ("SPOTIFY_REDIRECT_URI", "https://example.org/#here", "is not a redirect URI"),
    ("SPOTIFY_REDIRECT_URI", "https:///callback", "is not a redirect URI"),
    ("SPOTIFY_REDIRECT_URI", "127.0.0.1:8888/callback", "starts with http:// or https://"),
    ("SPOTIFY_REDIRECT_URI", "http://[::1:8888/callback", "starts with http:// or https://"),
    ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:88888/callback", "starts with http:// or https://"),
    ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:0/callback", "starts with http:// or https://"),
    ("REDIS_URL", "localhost:6379", "must look like redis://"),
    ("REDIS_URL", "http://localhost:6379", "must look like redis://"),
    ("REDIS_URL", "redis://:pass word@host/0", "copy it again"),
    ("REDIS_URL", "redis://host:port/0", "must look like redis://"),
    ("REDIS_URL", "redis://:pass/word@host/0", "a password's / \\? # @ are written %2F"),
    ("REDIS_URL", "redis://host/music", "end with the number of a database"),
    ("REDIS_URL", "redis://host/0/1", "end with the number of a database"),
    ("REDIS_URL", "unix://u:pw@", "must name a socket"),
    ("REDIS_PREFIX", "a\tb", "control character"),
    ("POLL_MIN", "five", "must be a number of seconds from 0.01 to 3600"),
    ("POLL_MIN", "0", "must be a number of seconds"),
    ("POLL_MIN", "-5", "must be a number of seconds"),
    ("POLL_MAX", "nan", "must be a number of seconds"),
    ("POLL_MAX", "inf", "must be a number of seconds"),
    ("POLL_MAX", "1e-300", "must be a number of seconds"),
    ("POLL_MAX", "0,5", "such as 5 or 0.5"),
    ("SPOTIFY_API_URL", "ftp://example.org", "starts with http:// or https://"),
    ("SPOTIFY_API_URL", "https://u:p@example.org", "with nothing after it"),
    ("SPOTIFY_API_URL", "https://example.org?x=1", "with nothing after it"),
    ("SPOTIFY_ACCOUNTS_URL", "https://", "with nothing after it"),
    ("SPOTIFY_ACCOUNTS_URL", "http://example.org", "must start with https"),
    ("SPOTIFY_API_URL", "http://192.168.1.2:8080", "must start with https"),
    ("ALERT_URL", "ntfy.example/topic", "starts with http:// or https://"),
    ("HEARTBEAT_URL", "https:///topic", "such as https://example.org/topic"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_setting_is_named_with_its_origin_and_what_to_do(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        load(tmp_path, {name: value})
    assert str(caught.value).startswith(f"{name} in the environment ")
    if name in MAY_HOLD_SECRETS:
        assert value not in str(caught.value)
    assert not isinstance(caught.value, NotConfigured)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPOTIFY_REDIRECT_URI", "http://[::1]:8888/callback"),
        ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:8888"),
        ("SPOTIFY_ACCOUNTS_URL", "http://localhost:8080"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:pw@host"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "unix://user:pw@/run/redis.sock"),
    ],
)
def test_what_is_unusual_but_right_is_taken(tmp_path: Path, name: str, value: str) -> None:
    settings = load(tmp_path, {name: value})
    assert value in (settings.redirect_uri, settings.redis_url, settings.accounts_url)


def test_the_pace_must_have_a_range(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n\nPOLL_MIN=40\n")
    message = r"POLL_MIN in .*/\.env:3 is 40 s, which is more than the 30 s of POLL_MAX \(not set\)"
    with pytest.raises(Misconfigured, match=message):
        load(tmp_path)
    assert load(tmp_path, {"POLL_MAX": "40"}).poll_min == 40.0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("auth.py", b'client_id = "a b"', r"^client_id in .*/auth\.py:1 contains a space"),
        ("auth.py", b"client_id = id", r"^client_id in .*/auth\.py:1 must be a quoted string"),
        ("auth.py", b"client_id = (", r"^/.*/auth\.py:1 is not valid Python"),
        ("auth.py", b"#" * 70_000, r"^/.*/auth\.py cannot be read \(File too large\)"),
        (".env", b"\nPOLL_MIN=1\n\nthis is no line\n", r"^/.*/\.env:4 is not a NAME=value line"),
        (".env", b"SPOTIFY_CLIENT_SECRET='abc\n", r"^/.*/\.env:1 is not a NAME=value line"),
        (".env", b"\xff\xfe", r"^/.*/\.env is not UTF-8 text"),
        (".env", b"X=1\nPOLL_MIN=x\n", r"^POLL_MIN in /.*/\.env:2 must be a number of seconds"),
    ],
)
def test_a_wrong_file_is_named_with_the_line(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(Misconfigured, match=message) as caught:
        load(tmp_path, {"SPOTIFY_CLIENT_ID": ""})
    assert "\n" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_folder_called_dotenv_is_somebodys_virtual_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(tmp_path).client_id == "id-of-environment"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "home/.local/state/spotify-logger"),
        ({"XDG_STATE_HOME": "{}/xdg"}, "xdg/spotify-logger"),
        ({"XDG_STATE_HOME": "relative"}, "home/.local/state/spotify-logger"),
        ({"XDG_STATE_HOME": "{}/xdg", "STATE_DIRECTORY": "{}/systemd"}, "systemd"),
        ({"STATE_DIRECTORY": "{}/one:{}/two"}, "one"),
        ({"STATE_DIRECTORY": "{}/systemd", "STATE_DIR": "{}/mine/deep"}, "mine/deep"),
        ({"STATE_DIR": "beside"}, "beside"),
        ({"STATE_DIR": "~/there"}, "home/there"),
        ({"STATE_DIR": "~"}, "home"),
    ],
)
def test_the_state_folder_is_found_and_made_for_its_owner_alone(
    tmp_path: Path, environ: dict[str, str], expected: str
) -> None:
    said = {name: value.replace("{}", str(tmp_path)) for name, value in environ.items()}
    before = os.umask(0)
    try:
        settings = load(tmp_path, said)
    finally:
        os.umask(before)
    assert settings.state_dir == tmp_path / expected
    assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
    assert load(tmp_path, said).state_dir == settings.state_dir


def test_a_state_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below", "a\ud800b", "x" * 300):
        with pytest.raises(Misconfigured, match=r"state folder|STATE_DIR") as caught:
            load(tmp_path, {"STATE_DIR": place})
        assert "STATE_DIR" in str(caught.value)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user reaches, too."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        Path(name, "folder").chmod(0o700)


@pytest.mark.parametrize(
    ("mode", "below", "reason"),
    [
        # An SD card that turned read-only must not stop the logging: the loop warns of it.
        (0o555, "", ""),
        (0o555, "below", "Permission denied"),
        (0o300, "", "no permission to read it"),
        (0o644, "", "no permission to read it"),
    ],
)
def test_a_state_folder_has_to_be_there_and_to_be_read(
    place: Path, mode: int, below: str, reason: str
) -> None:
    # Another user's eyes are needed: root may do anything anywhere.
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom spotify_logger.config import settings\n"
        "from spotify_logger.system import errors\n"
        "if os.getuid() == 0:\n    os.setgid(65534)\n    os.setuid(65534)\n"
        "environ = {'STATE_DIR': sys.argv[1], 'HOME': '/', 'SPOTIFY_CLIENT_ID': 'x'}\n"
        "try:\n    settings.load(Path('/'), environ)\n"
        "except errors.Misconfigured as error:\n    print(error)\n"
    )
    folder = place / "folder"
    folder.mkdir()
    folder.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-c", script, folder / below], capture_output=True, text=True, check=True
    )
    complaint = f"the state folder {folder / below} cannot be used ({reason}): set STATE_DIR to another one\n"
    assert done.stdout == (complaint if reason else "")


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a path belong to somebody who is neither this user nor root."""
    if os.getuid() == 0:
        os.chown(path, SOMEBODY, SOMEBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)


@pytest.fixture
def planted(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with an `.env` or `auth.py` that somebody put there for others to fall for."""
    folder = tmp_path / "planted"
    folder.mkdir()
    content = {".env": "REDIS_URL=redis://127.0.0.1:17099/0\n", "auth.py": "client_id = 'planted'\n"}
    path = folder / str(request.param)
    path.write_text(content[path.name])
    return path


@pytest.mark.parametrize("planted", [".env", "auth.py"], indirect=True)
class TestPlantedSettings:
    """The command looks for settings in the folder in which it is called, which may be anybody's."""

    @staticmethod
    def refused(planted: Path) -> str:
        with pytest.raises(Misconfigured, match="is not trusted") as caught:
            load(planted.parent, need_login=False)
        assert str(caught.value).startswith(f"{planted} ")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_file_of_somebody_else(self, planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_away(planted, monkeypatch)
        assert "chown" in self.refused(planted)

    def test_a_folder_of_somebody_else(self, planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_away(planted.parent, monkeypatch)
        assert "chown" in self.refused(planted)

    @pytest.mark.parametrize("mode", [0o602, 0o666])
    def test_a_file_that_others_may_write(self, planted: Path, mode: int) -> None:
        planted.chmod(mode)
        assert f"chmod go-w '{planted}'" in self.refused(planted)

    def test_a_folder_that_others_may_write(self, planted: Path) -> None:
        planted.parent.chmod(0o777)
        assert f"chmod go-w '{planted.parent}'" in self.refused(planted)

    def test_a_folder_for_everybody(self, planted: Path) -> None:
        planted.parent.chmod(0o1777)
        assert "chmod" not in self.refused(planted)

    def test_a_link_to_a_file_that_others_may_write(self, planted: Path) -> None:
        target = planted.rename(planted.parent / "target")
        target.chmod(0o666)
        planted.symlink_to(target)
        self.refused(planted)

    def test_a_file_that_is_swapped_for_another_one_meanwhile(
        self, planted: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is looked at is the file that was opened."""
        theirs = planted.with_name("theirs")
        theirs.write_bytes(planted.read_bytes())
        theirs.chmod(0o666)
        opened = Path.open

        def swap_and_open(path: Path, mode: str = "r") -> object:
            if path == planted:
                theirs.replace(planted)
            return opened(path, mode)

        monkeypatch.setattr(Path, "open", swap_and_open)
        self.refused(planted)

    def test_the_group_of_nobody_else_may_write(self, planted: Path) -> None:
        """Some systems give each user such a group, and let it write by default."""
        me = pwd.getpwuid(os.getuid())
        if grp.getgrgid(me.pw_gid).gr_name != me.pw_name:
            pytest.skip("this user has no such group")
        for path in (planted, planted.parent):
            os.chown(path, -1, me.pw_gid)
            path.chmod(0o775)
        load(planted.parent, need_login=False)

    def test_a_group_of_others(self, planted: Path) -> None:
        others = [gid for gid in os.getgroups() or [SOMEBODY] if gid != pwd.getpwuid(os.getuid()).pw_gid]
        if os.getuid() != 0 and not others:
            pytest.skip("this user has no second group")
        os.chown(planted, -1, others[0] if others else SOMEBODY)
        planted.chmod(0o660)
        assert "chmod go-w" in self.refused(planted)


class TestStateFolderOfOthers:
    """Whoever can change it could let the logger write, and send, what they please."""

    @staticmethod
    def refused(folder: Path, environ: Mapping[str, str] | None = None) -> None:
        with pytest.raises(Misconfigured, match=rf"^the state folder {folder} .* set STATE_DIR"):
            load(folder.parent, {"STATE_DIR": "state", **(environ or {})})

    @pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
    def test_others_may_write_there(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(mode)
        self.refused(tmp_path / "state")
        self.refused(tmp_path / "state", {"LISTENER": "anna"})
        # Who only asks Redis has no business there.
        assert load(tmp_path, {"STATE_DIR": "state"}, need_login=False).state_dir == tmp_path / "state"

    def test_others_may_put_another_folder_in_its_place(self, tmp_path: Path) -> None:
        way = tmp_path / "shared" / "deeper"
        (way / "state").mkdir(parents=True)
        way.parent.chmod(0o777)
        self.refused(way / "state")
        way.parent.chmod(0o1777)  # as /tmp: nobody but its owner can replace `deeper`
        assert load(way, {"STATE_DIR": "state"}).state_dir == way / "state"

    def test_a_link_on_the_way_belongs_to_somebody_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        found = load(tmp_path, {"STATE_DIR": "link/state"})
        assert found.state_dir == tmp_path / "link" / "state"
        whose = os.lstat

        def lstat(path: str) -> os.stat_result:
            fields = list(whose(path))
            if path == str(tmp_path / "link"):
                fields[4] = 12345
            return os.stat_result(fields)

        monkeypatch.setattr("spotify_logger.system.ownership.os.lstat", lstat)
        with pytest.raises(Misconfigured, match="link"):
            load(tmp_path, {"STATE_DIR": "link/state"})

    def test_it_belongs_to_somebody_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "state").mkdir()
        give_away(tmp_path / "state", monkeypatch)
        self.refused(tmp_path / "state")


def test_secrets_are_kept_from_the_log_and_from_every_repr(tmp_path: Path, secrets: set[str]) -> None:
    hidden = {
        "SPOTIFY_CLIENT_SECRET": "hidden-one",
        "SPOTIFY_REFRESH_TOKEN": "hidden-two",
        "REDIS_URL": "redis://user:hidden%2Fthree@host/0",
        "ALERT_URL": "https://example.org/hidden-four?x",
        "HEARTBEAT_URL": "https://example.org/hidden-five",
    }
    settings = load(tmp_path, hidden)
    assert "hidden" not in repr(settings)
    assert {"hidden-one", "hidden-two", "hidden%2Fthree", "hidden/three", "/hidden-four?x"} <= secrets
    assert "hidden" not in log.sanitize(" and ".join([*hidden.values(), "hidden/three", "at /hidden-five"]))


FILE_NAMES = [f"{name}_FILE" for name in SAID]
"""What names a file that holds a setting."""


def in_files(folder: Path, said: Mapping[str, str]) -> dict[str, str]:
    """Put each setting into a file of its own in `folder`, called like it, and say so as NAME_FILE."""
    folder.mkdir()
    for name, value in said.items():
        (folder / name).write_text(f"{value}\n")
    return {f"{name}_FILE": str(folder / name) for name in said}


def test_every_setting_can_be_in_a_file(tmp_path: Path) -> None:
    pointers = in_files(tmp_path / "files", SAID)
    expected = load(tmp_path, SAID)
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path / "files")}
    assert load(tmp_path, {**pointers, "SPOTIFY_CLIENT_ID": ""}) == expected
    assert load(tmp_path, {**credentials, "SPOTIFY_CLIENT_ID": ""}) == expected
    plain = {name: value for name, value in SAID.items() if name not in sources.SECRET_SETTINGS}
    lines = {
        **plain,
        **{f"{name}_FILE": pointers[f"{name}_FILE"] for name in sources.SECRET_SETTINGS & SAID.keys()},
    }
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
    assert load(tmp_path, {"SPOTIFY_CLIENT_ID": ""}) == expected


@pytest.mark.parametrize("name", sorted(sources.DEFAULTS.keys() - sources.SECRET_SETTINGS))
def test_dotenv_names_files_for_secrets_only(tmp_path: Path, name: str) -> None:
    """Whoever wrote it could show the content of any file to whoever is asked in the name of that setting."""
    (tmp_path / "file").write_text("10")
    (tmp_path / ".env").write_text(f"\n{name}_FILE=file\n")
    with pytest.raises(Misconfigured, match=rf"^{name}_FILE in /.*/\.env:2 "):
        load(tmp_path)


def test_the_first_place_that_has_it_wins(tmp_path: Path) -> None:
    (tmp_path / "of-environment").write_text("file-of-environment")
    (tmp_path / "of-dotenv").write_text("file-of-dotenv")
    (tmp_path / "credentials").mkdir()
    credential = tmp_path / "credentials" / "SPOTIFY_CLIENT_ID"
    credential.write_text("credential")
    dotenv = tmp_path / ".env"
    dotenv.write_text("SPOTIFY_CLIENT_ID=dotenv\n")
    (tmp_path / "auth.py").write_text(AUTH)
    silent = {"SPOTIFY_CLIENT_ID": "", "CREDENTIALS_DIRECTORY": str(credential.parent)}

    assert load(tmp_path, {**silent, "SPOTIFY_CLIENT_ID": "environment"}).client_id == "environment"
    pointing = {**silent, "SPOTIFY_CLIENT_ID_FILE": "of-environment"}
    assert load(tmp_path, pointing).client_id == "file-of-environment"
    assert load(tmp_path, silent).client_id == "credential"
    credential.unlink()
    assert load(tmp_path, silent).client_id == "dotenv"
    dotenv.write_text("SPOTIFY_CLIENT_ID_FILE=of-dotenv\n")
    assert load(tmp_path, silent).client_id == "file-of-dotenv"
    dotenv.unlink()
    assert load(tmp_path, silent).client_id == "id-of-auth"


@pytest.mark.parametrize("content", ["abc", "abc\n", "\ufeff 'abc'\r\n\r\n"])
def test_what_is_around_the_content_of_a_file_is_taken_off(tmp_path: Path, content: str) -> None:
    (tmp_path / "SPOTIFY_CLIENT_SECRET").write_bytes(content.encode())
    pointer = {"SPOTIFY_CLIENT_SECRET_FILE": "SPOTIFY_CLIENT_SECRET"}
    assert load(tmp_path, pointer).client_secret == "abc"
    assert load(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).client_secret == "abc"


def test_a_blank_file_counts_as_not_there(tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text(AUTH)
    (tmp_path / "SPOTIFY_CLIENT_SECRET").write_text(" \n")
    (tmp_path / ".env").write_text("SPOTIFY_CLIENT_SECRET_FILE=SPOTIFY_CLIENT_SECRET\nREDIS_URL_FILE=\n")
    settings = load(
        tmp_path,
        {"SPOTIFY_CLIENT_SECRET_FILE": "SPOTIFY_CLIENT_SECRET", "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert settings.client_secret == SECRET
    assert settings.redis_is_default


def test_the_path_of_a_file_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_files(tmp_path / "home", {"SPOTIFY_CLIENT_SECRET": SECRET})
    pointer = {"SPOTIFY_CLIENT_SECRET_FILE": "~/SPOTIFY_CLIENT_SECRET"}
    assert load(tmp_path, pointer).client_secret == SECRET
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(Misconfigured, match=r"_FILE in the environment begins with ~, but there is no home"):
        load(tmp_path, {**pointer, "HOME": ""})


@pytest.mark.parametrize("name", SAID)
def test_a_setting_and_its_file_in_one_place_contradict_each_other(tmp_path: Path, name: str) -> None:
    both = {name: SAID[name], f"{name}_FILE": "hidden"}
    message = f"^both {name} in the environment and {name}_FILE in the environment are set: remove one"
    with pytest.raises(Misconfigured, match=message):
        load(tmp_path, both)
    if name not in sources.SECRET_SETTINGS:
        return
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in both.items()))
    with pytest.raises(
        Misconfigured, match=rf"^both {name} in /.*/\.env:1 and {name}_FILE in /.*/\.env:2 are set: "
    ):
        load(tmp_path, {"SPOTIFY_CLIENT_ID": ""})


def test_a_file_that_is_overruled_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SPOTIFY_CLIENT_SECRET_FILE=not-there\n")
    (tmp_path / "SPOTIFY_CLIENT_SECRET").write_bytes(b"\xff")
    said = {"SPOTIFY_CLIENT_SECRET": "abc", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load(tmp_path, said).client_secret == "abc"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is {path}, which cannot be read (Is a directory): correct its name, owner or mode"),
        (
            b"abc" * 30_000,
            "is {path}, which cannot be read (File too large): correct its name, owner or mode",
        ),
        (b"abc\xff", "SPOTIFY_CLIENT_SECRET in {path} is not UTF-8 text: write it again"),
        (b"abc\ndef", "SPOTIFY_CLIENT_SECRET in {path} contains a control character: copy it again"),
        (b"abc\0", "SPOTIFY_CLIENT_SECRET in {path} contains a control character: copy it again"),
        (b"abc def", "SPOTIFY_CLIENT_SECRET in {path} contains a space or another invalid character"),
    ],
)
def test_a_file_with_something_else_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "SPOTIFY_CLIENT_SECRET"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    ways = {
        "SPOTIFY_CLIENT_SECRET_FILE in the environment ": {"SPOTIFY_CLIENT_SECRET_FILE": str(path)},
        "the credential SPOTIFY_CLIENT_SECRET ": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    }
    for label, environ in ways.items():
        with pytest.raises(Misconfigured) as caught:
            load(tmp_path, environ)
        said = str(caught.value)
        assert said.startswith((label if message.startswith("is ") else "") + message.format(path=path))
        assert "abc" not in said
        assert "\n" not in said


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("not-there", "No such file or directory"),
        ("file/below", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_file_that_is_named_must_be_there(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / ".env").write_text(f"\nREDIS_URL_FILE={place}\n")
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"REDIS_URL_FILE in {tmp_path}/.env:2 is {tmp_path}/{place}, which cannot be read ({reason}): "
        "correct its name, owner or mode"
    )


@pytest.mark.parametrize("place", ["a\0b", "a\nb", "a\ud800b"])
def test_what_cannot_be_the_name_of_a_file_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(
        Misconfigured, match=r"^ALERT_URL_FILE in the environment contains a control character"
    ):
        load(tmp_path, {"ALERT_URL_FILE": place})


@pytest.mark.parametrize("folder", ["", "not-there"])
def test_credentials_that_are_not_there_are_not_missed(tmp_path: Path, folder: str) -> None:
    said = {"CREDENTIALS_DIRECTORY": folder and str(tmp_path / folder)}
    assert load(tmp_path, said) == load(tmp_path)


def test_secrets_out_of_files_are_kept_from_the_log_as_well(tmp_path: Path, secrets: set[str]) -> None:
    pointers = in_files(tmp_path / "files", {"SPOTIFY_CLIENT_SECRET": "hidden-one"})
    in_files(tmp_path / "credentials", {"REDIS_URL": "redis://:hidden-two@host/0"})
    settings = load(tmp_path, {**pointers, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert secrets == {"hidden-one", "hidden-two"}
    assert "hidden" not in repr(settings)


def test_what_is_too_short_to_protect_anything_is_not_starred_out(tmp_path: Path, secrets: set[str]) -> None:
    load(
        tmp_path, {"SPOTIFY_CLIENT_SECRET": "e", "REDIS_URL": "redis://:pw@host/0", "ALERT_URL": "http://h/"}
    )
    assert secrets == {"http://h/"}


def test_files_that_others_can_read_are_found(tmp_path: Path) -> None:
    assert sources.readable_by_others(tmp_path) == []
    (tmp_path / "auth.py").touch(mode=0o600)
    (tmp_path / ".env").touch(mode=0o640)
    (tmp_path / ".env").chmod(0o640)
    assert sources.readable_by_others(tmp_path) == [tmp_path / ".env"]


NAMES = st.sampled_from([*sources.DEFAULTS, *FILE_NAMES])
SCHEMES = st.sampled_from(["http", "https", "redis", "unix", "x"])
VALUES = (
    st.text(max_size=30)
    | st.text(string.printable, max_size=30)
    | st.sampled_from([*(value for _, value, _ in WRONG), "SPOTIFY_CLIENT_SECRET"])
    | st.builds("{}://{}".format, SCHEMES, st.text(":/@[]?#%1a.", max_size=12))
)
LINES = st.binary(max_size=60) | st.text("ab=\"'\\\n\r #$\0ä", max_size=40).map(str.encode)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=3), LINES, LINES)
def test_garbage_ends_in_settings_or_in_one_error(
    tmp_path: Path, environ: dict[str, str], dotenv: bytes, held: bytes
) -> None:
    (tmp_path / ".env").write_bytes(dotenv)
    (tmp_path / "SPOTIFY_CLIENT_SECRET").write_bytes(held)
    # Whatever else is said, nothing is made outside of the test's own folder.
    elsewhere = {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": str(tmp_path), "STATE_DIR": "state"}
    with contextlib.suppress(Misconfigured):
        config.load(tmp_path, {**environ, **elsewhere, "CREDENTIALS_DIRECTORY": str(tmp_path)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=20) | st.text("./~a\0\ud800\n", max_size=8))
def test_any_name_makes_a_state_folder_or_one_error(tmp_path: Path, name: str) -> None:
    with contextlib.suppress(Misconfigured):
        folder = load(tmp_path, {"STATE_DIR": f"./{name.replace('..', '')}"}).state_dir
        assert folder.is_relative_to(tmp_path)
        assert folder.is_dir()


def test_a_user_without_a_home_needs_only_a_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", homeless)
    environ = {"SPOTIFY_CLIENT_ID": "0123456789abcdef"}
    with pytest.raises(Misconfigured, match="set STATE_DIR to another one"):
        config.load(tmp_path, environ)
    assert config.load(tmp_path, {**environ, "STATE_DIR": str(tmp_path)}).state_dir == tmp_path
