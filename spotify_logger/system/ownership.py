"""Check that a file or folder belongs to this user or root, and only they can change it, as in ssh and git.

Standard library only, and without `pathlib`, to keep the supervisor small.
"""

import grp
import os
import pwd
import stat
from contextlib import suppress


def distrust_reason(path: os.PathLike[str] | str, status: os.stat_result) -> str:
    """Return why a file or folder of that `status` is not trusted, and how to fix it; "" if it is trusted."""
    if status.st_uid not in {0, os.geteuid()}:
        fix = f"sudo chown {_name(os.geteuid())} '{path}'"
        return f"belongs to another user, {_name(status.st_uid)} (if you trust it: {fix})"
    group = 0 if _is_of_one(status.st_gid, status.st_uid) else stat.S_IWGRP
    if not status.st_mode & (stat.S_IWOTH | group):
        return ""
    # With the sticky bit it is meant for all users, such as /tmp.
    fix = "" if status.st_mode & stat.S_ISVTX else f" (chmod go-w '{path}')"
    return f"can be changed by other users{fix}"


def path_distrust_reason(path: str) -> str:
    """Return why the folders and links above an absolute path are not trusted; "" if they are.

    Anyone who can change one of them can replace the folder with another one. A folder with the sticky bit,
    such as /tmp, is fine: only the owner of an entry can replace it. Raises OSError if a part is missing.
    """
    folder = os.path.dirname(path)  # noqa: PTH120 - see the module
    if folder == path:
        return ""
    if found := path_distrust_reason(folder):
        return found
    status = os.stat(folder)  # noqa: PTH116 - see the module
    is_kept_apart = status.st_mode & stat.S_ISVTX and status.st_uid in {0, os.geteuid()}
    if not is_kept_apart and (found := distrust_reason(folder, status)):
        return f"is below {folder}, which {found}"
    status = os.lstat(path)
    if not stat.S_ISLNK(status.st_mode):
        return ""
    if status.st_uid not in {0, os.geteuid()}:
        return f"is reached by the link {path}, which belongs to {_name(status.st_uid)}"
    return path_distrust_reason(os.path.join(folder, os.readlink(path)))  # noqa: PTH115, PTH118 - see the module


def _is_of_one(gid: int, uid: int) -> bool:
    """Return whether a group is private to a user: systems with such groups let them write by default."""
    with suppress(KeyError):
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
        return group.gr_name == user.pw_name and user.pw_gid == gid and set(group.gr_mem) <= {user.pw_name}
    return False


def _name(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
