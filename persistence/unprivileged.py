"""The system user that PostgreSQL runs as when we are root, since PostgreSQL refuses to be.

Owns that user and its way to the folders it needs. A folder below a private home is opened for this one user, to pass
through and not to list, by an access control list entry: the mode bits that other users see stay as they are.
"""

import os
import pwd
import shutil
import struct
import subprocess
from pathlib import Path
from stat import S_IXOTH

USER = "prop_postgres"

# The xattr form of a POSIX access control list: a version, then (tag, permissions, id) for each entry.
_ACL, _VERSION, _ENTRY = "system.posix_acl_access", struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _NAMED_USER, _GROUP, _MASK, _OTHER, _NOBODY = 0x01, 0x02, 0x04, 0x10, 0x20, 0xFFFFFFFF
_SEARCH = 0o1


class NoWayIn(Exception):
    """The user cannot be made, or cannot be let through to a folder; the message says what to do."""


def ensure_user() -> pwd.struct_passwd:
    """The user's entry in the password database, made on first use."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise NoWayIn(f"PostgreSQL does not run as root, and useradd is missing: add a system user named {USER}")
    command = [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false", USER]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    try:
        return pwd.getpwnam(USER)  # another process may have been first
    except KeyError:
        raise NoWayIn(f"PostgreSQL does not run as root, and no user was made for it: {made.stderr.strip()}") from None


def let_through(user: pwd.struct_passwd, folder: Path) -> None:
    """Let the user pass through ``folder`` and the folders above it. Raises :class:`NoWayIn`."""
    resolved = folder.resolve()
    for step in reversed([resolved, *resolved.parents]):
        status = step.stat()
        if status.st_mode & S_IXOTH or status.st_uid == user.pw_uid:
            continue
        try:
            _grant_search(step, user.pw_uid)
        except (OSError, AttributeError) as error:
            raise NoWayIn(
                f"PostgreSQL does not run as root, and its user {USER} cannot pass through {step} ({error}): "
                f"put {folder} elsewhere, such as below /var/lib, or allow it with: chmod o+x {step}"
            ) from None


def _grant_search(folder: Path, uid: int) -> None:
    """Add the search permission for one user to the folder's access control list."""
    try:
        raw = os.getxattr(folder, _ACL)
        entries = {(tag, who): allowed for tag, allowed, who in _ENTRY.iter_unpack(raw[_VERSION.size :])}
    except OSError:  # no list yet: start from the mode bits
        mode = folder.stat().st_mode
        entries = {
            (_OWNER, _NOBODY): mode >> 6 & 7,
            (_GROUP, _NOBODY): mode >> 3 & 7,
            (_MASK, _NOBODY): mode >> 3 & 7,
            (_OTHER, _NOBODY): mode & 7,
        }
    entries[_NAMED_USER, uid] = entries.get((_NAMED_USER, uid), 0) | _SEARCH
    entries[_MASK, _NOBODY] = entries.get((_MASK, _NOBODY), 0) | _SEARCH  # the ceiling of all but owner and other
    packed = [_ENTRY.pack(tag, allowed, who) for (tag, who), allowed in sorted(entries.items())]
    os.setxattr(folder, _ACL, _VERSION.pack(2) + b"".join(packed))
