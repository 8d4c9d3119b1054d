"""Whether a file or folder can be changed by users other than this one and root. Then it is not trusted.

The rule of ssh and git: it has to belong to the user or to root, and nobody else may write to it.
Standard library only, and without `pathlib`: the supervisor uses it, and is small.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def distrust_reason(path: Path | str, status: os.stat_result) -> str:
    """Return why a file or folder is not to be trusted, and what helps; "" where it is.

    Args:
        path: How it is called.
        status: What `os.stat` says of it, or `os.fstat` where it is open already.
    """
    if status.st_uid not in {0, os.geteuid()}:
        fix = f"sudo chown {_name(os.geteuid())} '{path}'"
        return f"belongs to another user, {_name(status.st_uid)} (if you trust it: {fix})"
    group = 0 if _is_of_one(status.st_gid, status.st_uid) else stat.S_IWGRP
    if status.st_mode & (stat.S_IWOTH | group):
        # One with the sticky bit is for everybody, such as /tmp.
        is_shared = status.st_mode & stat.S_ISVTX
        fix = "" if is_shared else f" (chmod go-w '{path}')"
        return f"can be changed by other users{fix}"
    return ""


def _is_of_one(gid: int, uid: int) -> bool:
    """Return whether a group is a user's own: on systems that have such groups, they may write by default."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and user.pw_gid == gid and not set(group.gr_mem) - {user.pw_name}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
