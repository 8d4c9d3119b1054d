from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from spotify_logger.config import settings as config
from spotify_logger.config import sources
from spotify_logger.config.settings import NotConfigured, Settings
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

STRANGER = 54_321
"""The id of a user and a group that do not exist."""
SECRET = "0123456789abcdef0123456789abcdef"
AUTH = f'client_id = "id-of-auth"\nclient_secret = "{SECRET}"\nredirect_uri = "http://127.0.0.1:7777/auth"\n'
VALUES = {
    "SPOTIFY_CLIENT_ID": "an-id",
    "SPOTIFY_CLIENT_SECRET": "a-secret",
    "SPOTIFY_REDIRECT_URI": "http://[::1]:8888/back?from=here",
    "SPOTIFY_REFRESH_TOKEN": "a-token",
    "REDIS_URL": "unix://user:pass%2Fword@/run/redis.sock?db=1",
    "REDIS_PREFIX": "flat 2:",
    "STATE_DIR": "state",
    "POLL_MIN": "0.5",
    "POLL_MAX": "0.5",
    "SPOTIFY_API_URL": "http://127.0.0.1:8080/api/",
    "SPOTIFY_ACCOUNTS_URL": "http://localhost:8080",
    "ALERT_URL": "https://me:pw@ntfy.example/topic?x=1",
    "HEARTBEAT_URL": "https://beat.example/abc",
    "WEB_PASSWORD": "open, sesame",
}
"""A valid value of every setting."""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The secrets kept out of the log, forgotten after each test."""
    concealed: set[str] = set()
    monkeypatch.setattr(log, "_secrets", concealed)
    return concealed


def load(directory: Path, environ: Mapping[str, str] | None = None, *, need_login: bool = True) -> Settings:
    defaults = {"SPOTIFY_CLIENT_ID": "id-of-environment"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(directory / "home"))
        return config.load(directory, {**defaults, **(environ or {})}, need_login=need_login)


def test_only_the_client_id_is_required(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.redirect_uri == "http://127.0.0.1:8888/callback"
    assert (loaded.redis_url, loaded.redis_is_default) == ("redis://127.0.0.1:6379/0", True)
    assert (loaded.poll_min, loaded.poll_max) == (5, 30)
    assert loaded.api_url == "https://api.spotify.com"
    assert loaded.accounts_url == "https://accounts.spotify.com"
    assert load(tmp_path, {"SPOTIFY_CLIENT_ID": ""}, need_login=False).client_id == ""


def test_every_setting_can_be_set_directly_or_by_a_file(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, value in VALUES.items():
        (files / name).write_text(f"{value}\n")
    pointers = {f"{name}_FILE": str(files / name) for name in VALUES}
    unset = {"SPOTIFY_CLIENT_ID": ""}

    expected = load(tmp_path, VALUES)

    for name, value in VALUES.items():
        loaded = str(getattr(expected, name.removeprefix("SPOTIFY_").lower()))
        assert loaded.removeprefix(f"{tmp_path}/") == value.rstrip("/")
    assert not expected.redis_is_default
    assert load(tmp_path, {**pointers, **unset}) == expected
    assert load(tmp_path, {"CREDENTIALS_DIRECTORY": str(files), **unset}) == expected
    lines = (
        f"{name}_FILE='{files / name}'\n" if name in sources.SECRET_SETTINGS else f"{name}='{value}'\n"
        for name, value in VALUES.items()
    )
    (tmp_path / ".env").write_text("".join(lines))
    assert load(tmp_path, unset) == expected


def test_the_first_source_that_has_a_setting_wins(tmp_path: Path) -> None:
    (tmp_path / "of-environment").write_text("file-of-environment")
    (tmp_path / "of-dotenv").write_text("file-of-dotenv")
    (tmp_path / "credentials").mkdir()
    credential = tmp_path / "credentials" / "SPOTIFY_CLIENT_ID"
    credential.write_text("credential")
    dotenv = tmp_path / ".env"
    dotenv.write_text("# ours\nexport SPOTIFY_CLIENT_ID=dotenv\nPOLL_MAX='20' # seconds\n")
    (tmp_path / "auth.py").write_text(AUTH)
    environ = {"SPOTIFY_CLIENT_ID": "", "CREDENTIALS_DIRECTORY": str(credential.parent)}

    assert load(tmp_path, {**environ, "SPOTIFY_CLIENT_ID": "environment"}).client_id == "environment"
    pointing = {**environ, "SPOTIFY_CLIENT_ID_FILE": "of-environment"}
    assert load(tmp_path, pointing).client_id == "file-of-environment"
    assert load(tmp_path, environ).client_id == "credential"
    credential.unlink()
    assert load(tmp_path, environ).client_id == "dotenv"
    assert load(tmp_path, environ).poll_max == 20
    dotenv.write_text("SPOTIFY_CLIENT_ID_FILE=of-dotenv\n")
    assert load(tmp_path, environ).client_id == "file-of-dotenv"
    dotenv.unlink()
    loaded = load(tmp_path, environ)
    assert (loaded.client_id, loaded.client_secret) == ("id-of-auth", SECRET)
    assert loaded.redirect_uri == "http://127.0.0.1:7777/auth"


@pytest.mark.parametrize("pasted", ["\tabc\r\n", "\u201cabc\u201d", "\ufeffabc\u200b"])
def test_quotes_and_whitespace_that_were_copied_along_are_removed(tmp_path: Path, pasted: str) -> None:
    assert load(tmp_path, {"SPOTIFY_CLIENT_SECRET": pasted}).client_secret == "abc"
    (tmp_path / "secret").write_bytes(pasted.encode())
    assert load(tmp_path, {"SPOTIFY_CLIENT_SECRET_FILE": "secret"}).client_secret == "abc"


def test_values_in_dotenv_are_literal(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfSPOTIFY_CLIENT_SECRET=a${HOME}b\r\nREDIS_PREFIX=\r\nOTHER\r\n"
    )
    loaded = load(tmp_path)
    assert (loaded.client_secret, loaded.redis_prefix) == ("a${HOME}b", "")


def test_the_example_file_sets_nothing(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "auth.example.py"
    (tmp_path / "auth.py").write_bytes(example.read_bytes())
    with pytest.raises(NotConfigured, match=r"SPOTIFY_CLIENT_ID is missing: fill in /.*/auth\.py, or"):
        load(tmp_path, {"SPOTIFY_CLIENT_ID": " "})
    assert load(tmp_path).redirect_uri == sources.DEFAULTS["SPOTIFY_REDIRECT_URI"]


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("SPOTIFY_CLIENT_ID", "ab cd", "copy it again"),
        ("SPOTIFY_REDIRECT_URI", "http://localhost:8888/callback", r"such as http://127\.0\.0\.1:8888/"),
        ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1/callback", "and a port"),
        ("SPOTIFY_REDIRECT_URI", "http://192.168.1.2:8888/callback", "https://"),
        ("SPOTIFY_REDIRECT_URI", "https://u:p@example.org/", "must be a URL such as"),
        ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:88888/callback", "must be a URL such as"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("REDIS_URL", "redis://:pass/word@host/0", "a password's / \\? # @ are written %2F"),
        ("REDIS_URL", "redis://host/music", "number of the database"),
        ("REDIS_URL", "unix://u:pw@", "must look like"),
        ("REDIS_URL", "unix+sentinel://host/music/0", "must look like"),
        ("REDIS_URL", "unix+cluster://host/0", "must look like"),
        ("LISTENER", "no name", "such as anna"),
        ("REDIS_PREFIX", "a\tb", "control character"),
        ("POLL_MIN", "five", "from 0.01 to 3600"),
        ("SPOTIFY_API_URL", "https://u:p@example.org", "with nothing after it"),
        ("SPOTIFY_ACCOUNTS_URL", "http://example.org", "https://"),
        ("ALERT_URL", "ntfy.example/topic", "such as https://example.org/topic"),
        ("HEARTBEAT_URL", "https:///topic", "such as https://example.org/topic"),
    ],
)
def test_an_invalid_setting_is_named_with_its_source_and_advice(
    tmp_path: Path, name: str, value: str, advice: str
) -> None:
    with pytest.raises(Misconfigured, match=advice) as caught:
        load(tmp_path, {name: value})
    assert str(caught.value).startswith(f"{name} in the environment ")
    if name in sources.SECRET_SETTINGS:
        assert value not in str(caught.value)
    assert not isinstance(caught.value, NotConfigured)


def test_poll_min_must_not_exceed_poll_max(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n\nPOLL_MIN=40\n")
    with pytest.raises(Misconfigured, match=r"POLL_MIN in .*/\.env:3 .* POLL_MAX \(not set\)"):
        load(tmp_path)
    assert load(tmp_path, {"POLL_MAX": "40"}).poll_min == 40.0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("auth.py", b"#" * 70_000, r"^/.*/auth\.py cannot be read \(File too large\)"),
        ("auth.py", b'client_id = "a b"', r"^client_id in .*/auth\.py:1 contains a space"),
        (".env", b"\nPOLL_MIN=1\n\nthis is no line\n", r"^/.*/\.env:4 is not a NAME=value line"),
        (".env", b"SPOTIFY_CLIENT_SECRET='abc\n", r"^/.*/\.env:1 is not a NAME=value line"),
        (".env", b"\xff\xfe", r"^/.*/\.env is not UTF-8 text"),
        (".env", b"X=1\nPOLL_MIN=x\n", r"^POLL_MIN in /.*/\.env:2 must be a number of seconds"),
        (".env", b"\nREDIS_URL_FILE=none\n", r"^REDIS_URL_FILE in .*/\.env:2 is .*/none, .* \(No such file"),
        (".env", b"STATE_DIR=.env", r"the state folder /.*/\.env cannot be used .* set STATE_DIR"),
        (".env", b"\nPOLL_MIN_FILE=file\n", r"^POLL_MIN_FILE in /.*/\.env:2 .*secret"),
    ],
)
def test_an_invalid_file_is_named_with_the_line(
    tmp_path: Path, file: str, content: bytes, message: str
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(Misconfigured, match=message) as caught:
        load(tmp_path, {"SPOTIFY_CLIENT_ID": ""})
    assert "\n" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_folder_named_dotenv_is_ignored(tmp_path: Path) -> None:
    """Some people call their virtual environment `.env`."""
    (tmp_path / ".env").mkdir()
    assert load(tmp_path).client_id == "id-of-environment"


class TestSettingsInFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"abc\xff", "is not UTF-8 text"),
            (b"abc" * 30_000, r"cannot be read \(File too large\)"),
            (b"abc\ndef", "control character"),
        ],
    )
    def test_invalid_content_is_reported_but_not_shown(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        path = tmp_path / "SPOTIFY_CLIENT_SECRET"
        path.write_bytes(content)
        for environ in {"SPOTIFY_CLIENT_SECRET_FILE": str(path)}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}:
            with pytest.raises(Misconfigured, match=message) as caught:
                load(tmp_path, environ)
            assert str(path) in str(caught.value)
            assert "abc" not in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_a_blank_file_sets_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "auth.py").write_text(AUTH)
        (tmp_path / "SPOTIFY_CLIENT_SECRET").write_text(" \n")
        (tmp_path / ".env").write_text("SPOTIFY_CLIENT_SECRET_FILE=SPOTIFY_CLIENT_SECRET\nREDIS_URL_FILE=\n")
        loaded = load(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
        assert loaded.client_secret == SECRET
        assert loaded.redis_is_default

    def test_a_setting_given_directly_and_by_a_file_in_one_source_is_refused(self, tmp_path: Path) -> None:
        both = {"SPOTIFY_CLIENT_SECRET": "a-secret", "SPOTIFY_CLIENT_SECRET_FILE": "hidden"}
        with pytest.raises(Misconfigured, match=r"both .* in the environment .* remove one"):
            load(tmp_path, both)
        (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in both.items()))
        with pytest.raises(Misconfigured, match=r"both .*/\.env:1 and .*/\.env:2"):
            load(tmp_path)


class TestSecrets:
    def test_they_are_kept_out_of_the_log_and_every_repr(self, tmp_path: Path, secrets: set[str]) -> None:
        (tmp_path / "token").write_text("hidden-two")
        environ = {
            "SPOTIFY_CLIENT_SECRET": "hidden-one",
            "REDIS_URL": "redis://user:hidden%2Fthree@host/0",
            "ALERT_URL": "https://example.org/hidden-four?x",
            "HEARTBEAT_URL": "https://example.org/hidden-five",
        }
        loaded = load(tmp_path, {**environ, "SPOTIFY_REFRESH_TOKEN_FILE": "token"})
        assert "hidden" not in repr(loaded)
        assert {"hidden-one", "hidden-two", "hidden%2Fthree", "hidden/three", "/hidden-four?x"} <= secrets
        texts = [*environ.values(), "hidden-two", "hidden/three", "at /hidden-five"]
        assert "hidden" not in log.sanitize(" and ".join(texts))


class TestStateFolder:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, "home/.local/state/spotify-logger"),
            ({"XDG_STATE_HOME": "{}/xdg"}, "xdg/spotify-logger"),
            ({"XDG_STATE_HOME": "{}/xdg", "STATE_DIRECTORY": "{}/one:{}/two"}, "one"),
            ({"STATE_DIRECTORY": "{}/systemd", "STATE_DIR": "mine/deep"}, "mine/deep"),
            ({"STATE_DIR": "~/there"}, "home/there"),
        ],
    )
    def test_it_is_created_for_its_owner_alone(
        self, tmp_path: Path, environ: dict[str, str], expected: str
    ) -> None:
        environ = {name: value.replace("{}", str(tmp_path)) for name, value in environ.items()}
        before = os.umask(0)
        try:
            state_dir = load(tmp_path, environ).state_dir
        finally:
            os.umask(before)
        assert state_dir == tmp_path / expected
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700

    def test_a_user_without_a_home_only_has_to_set_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def expanduser(path: Path) -> Path:
            if path.parts[0] == "~":
                raise RuntimeError
            return path

        monkeypatch.setattr(Path, "expanduser", expanduser)
        environ = {"SPOTIFY_CLIENT_ID": "0123456789abcdef"}
        with pytest.raises(Misconfigured, match="set STATE_DIR to another one"):
            config.load(tmp_path, environ)
        with pytest.raises(Misconfigured, match="no home folder: write the full path"):
            config.load(tmp_path, {**environ, "REDIS_URL_FILE": "~/url"})
        assert config.load(tmp_path, {**environ, "STATE_DIR": str(tmp_path)}).state_dir == tmp_path

    def test_it_has_to_be_readable_but_not_writable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failing SD card, which turns read-only, must not stop the logging."""
        state_dir = tmp_path / "state"
        state_dir.mkdir()
        monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
        assert load(tmp_path, {"STATE_DIR": "state"}).state_dir == state_dir
        monkeypatch.setattr(os, "scandir", Mock(side_effect=PermissionError(13, "Permission denied")))
        with pytest.raises(Misconfigured, match=rf"state folder {state_dir} .* set STATE_DIR"):
            load(tmp_path, {"STATE_DIR": "state"})


@pytest.fixture(params=[".env", "auth.py"])
def planted(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A settings file that another user may have placed in the folder where the command is run."""
    path = tmp_path / "planted" / str(request.param)
    path.parent.mkdir()
    path.write_text("REDIS_URL='redis://127.0.0.1:17099/0'\n")
    return path


class TestUntrustedSettings:
    @staticmethod
    def refused(planted: Path) -> str:
        with pytest.raises(Misconfigured, match="is not trusted") as caught:
            load(planted.parent, need_login=False)
        assert str(caught.value).startswith(f"{planted} ")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_another_user_owns_the(self, planted: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        if os.getuid() == 0:
            os.chown(planted if what == "file" else planted.parent, STRANGER, STRANGER)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
        assert "chown" in self.refused(planted)

    def test_a_file_or_folder_that_others_may_write(self, planted: Path) -> None:
        planted.chmod(0o602)
        assert f"chmod go-w '{planted}'" in self.refused(planted)
        planted.chmod(0o600)
        planted.parent.chmod(0o777)
        assert f"chmod go-w '{planted.parent}'" in self.refused(planted)
        planted.parent.chmod(0o1777)  # as /tmp
        assert "chmod" not in self.refused(planted)

    def test_a_file_replaced_before_it_is_opened(
        self, planted: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = planted.with_name("theirs")
        theirs.write_bytes(planted.read_bytes())
        theirs.chmod(0o666)
        original = Path.open

        def swap_and_open(path: Path, mode: str = "r") -> object:
            if path == planted:
                theirs.replace(planted)
            return original(path, mode)

        monkeypatch.setattr(Path, "open", swap_and_open)
        self.refused(planted)

    def test_a_group_of_others_may_write(self, planted: Path) -> None:
        me = pwd.getpwuid(os.getuid())
        others = [gid for gid in os.getgroups() or [STRANGER] if gid != me.pw_gid]
        if os.getuid() != 0 and not others:
            pytest.skip("this user has no second group")
        os.chown(planted, -1, others[0] if others else STRANGER)
        planted.chmod(0o660)
        assert "chmod go-w" in self.refused(planted)

    def test_the_users_own_group_may_write(self, planted: Path) -> None:
        """Some systems give each user such a group, and let it write by default."""
        me = pwd.getpwuid(os.getuid())
        if grp.getgrgid(me.pw_gid).gr_name != me.pw_name:
            pytest.skip("this user has no group of their own")
        for path in (planted, planted.parent):
            os.chown(path, -1, me.pw_gid)
            path.chmod(0o775)
        load(planted.parent, need_login=False)


class TestUntrustedStateFolder:
    """Whoever can change it could make the logger write, and send, what they like."""

    @staticmethod
    def refused(folder: Path, environ: Mapping[str, str] | None = None) -> None:
        with pytest.raises(Misconfigured, match=rf"^the state folder {folder} .* set STATE_DIR"):
            load(folder.parent, {"STATE_DIR": "state", **(environ or {})})

    def test_others_may_write_to_it(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        for mode in (0o702, 0o1777):
            (tmp_path / "state").chmod(mode)
            self.refused(tmp_path / "state")
        self.refused(tmp_path / "state", {"LISTENER": "anna"})
        # A command that only reads Redis does not use it.
        assert load(tmp_path, {"STATE_DIR": "state"}, need_login=False).state_dir == tmp_path / "state"

    def test_others_may_replace_a_folder_above_it(self, tmp_path: Path) -> None:
        parent = tmp_path / "shared" / "deeper"
        (parent / "state").mkdir(parents=True)
        parent.parent.chmod(0o777)
        self.refused(parent / "state")
        parent.parent.chmod(0o1777)  # as /tmp: only its owner can replace `deeper`
        assert load(parent, {"STATE_DIR": "state"}).state_dir == parent / "state"

    def test_another_user_owns_it_or_a_link_on_its_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "real")
        (tmp_path / "real" / "state").mkdir(parents=True)
        assert load(tmp_path, {"STATE_DIR": "link/state"}).state_dir == tmp_path / "link" / "state"
        original = os.lstat

        def lstat(path: str) -> os.stat_result:
            fields = list(original(path))
            if path == str(tmp_path / "link"):
                fields[4] = STRANGER
            return os.stat_result(fields)

        monkeypatch.setattr("spotify_logger.system.ownership.os.lstat", lstat)
        with pytest.raises(Misconfigured, match="link"):
            load(tmp_path, {"STATE_DIR": "link/state"})


def test_receivers_of_plays(tmp_path: Path, secrets: set[str]) -> None:
    (tmp_path / "token").write_text("token-of-koito\n")
    loaded = load(
        tmp_path,
        {
            "FORWARD_URL": "https://api.listenbrainz.org/1/submit-listens/",
            "FORWARD_TOKEN": "token-of-lb",
            "FORWARD_3_URL": "http://koito:4110/apis/listenbrainz/1",
            "FORWARD_3_TOKEN_FILE": "token",
        },
    )
    assert [(each.number, each.url, each.token) for each in loaded.forward] == [
        (1, "https://api.listenbrainz.org", "token-of-lb"),
        (3, "http://koito:4110/apis/listenbrainz", "token-of-koito"),
    ]
    assert secrets >= {"token-of-lb", "token-of-koito"}
    assert "token-of" not in repr(loaded)


@pytest.mark.parametrize(
    "given",
    [
        {"FORWARD_URL": "https://lb.test"},
        {"FORWARD_2_TOKEN": "made-up"},
        {"FORWARD_10_URL": "https://made-up.test"},
        {"FORWARD_1_TOKEN_FILE": "made-up"},
        {"FORWARD_URL": "lb.test", "FORWARD_TOKEN": "made-up"},
        {"FORWARD_URL": "https://lb.test/?token=made-up", "FORWARD_TOKEN": "made-up"},
        {"FORWARD_URL": "https://me:made-up@lb.test", "FORWARD_TOKEN": "made-up"},
        {"FORWARD_URL": "https://lb.test", "FORWARD_TOKEN": "made up"},
    ],
)
def test_receivers_that_cannot_be(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="FORWARD_") as raised:
        load(tmp_path, given)
    assert "made-up" not in str(raised.value)
