"""Unix sockets to listen on: their permissions, and files that a killed server left behind."""

import errno
import grp
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUP_MODE: Final = 0o660
"""The mode if the config names only a group, because connecting needs the permission to write."""


class UnixSocket(socket.socket):
    """A bound unix socket. Closing it removes its file, unless the file already belongs to another process."""

    _file: tuple[str, int] | None = None
    """The path and the inode. A duplicate of the socket has none, so that closing it leaves the file alone."""

    def owns(self, path: str) -> None:
        """Remember the file, which the socket has just created."""
        self._file = path, os.stat(path).st_ino

    def close(self) -> None:
        super().close()
        file, self._file = self._file, None
        if file is not None:
            path, inode = file
            with suppress(OSError):
                if os.stat(path).st_ino == inode:
                    os.unlink(path)


def bind_unix_socket(path: str, mode: int | None, group: str | None) -> UnixSocket:
    """Return a socket that is bound to `path` but does not listen yet. Raises OSError.

    Clients can connect only once it listens, when its file already has the mode and the group.

    Without a mode, the group may connect if there is one. Otherwise the umask of the process decides.
    """
    owner = None if group is None else group_id(group)
    if mode is None and owner is not None:
        mode = _GROUP_MODE
    _clear_stale_socket(path)
    sock = UnixSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _bind(sock, path)
        sock.owns(path)
        _set_access(path, mode, owner)
    except OSError:
        sock.close()
        raise
    return sock


def group_id(group: str) -> int:
    """Return the id of a group, given by its name or its id. Raises OSError if there is no such name."""
    if group.isascii() and group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(errno.ENOENT, f"there is no group {group!r} on this machine") from None


def _bind(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(path)
    except FileNotFoundError as error:
        if Path(path).parent.is_dir():
            raise OSError(error.errno, f"cannot create a file in {Path(path).parent}") from None
        raise OSError(error.errno, f"the folder {Path(path).parent} does not exist") from None
    except PermissionError as error:
        raise OSError(error.errno, f"no permission to create a file in {Path(path).parent}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and not Path(path).is_socket():
            raise OSError(error.errno, "there is another file at this path, which is not a socket") from None
        raise


def _set_access(path: str, mode: int | None, group: int | None) -> None:
    if group is not None:
        try:
            os.chown(path, -1, group, follow_symlinks=False)
        except OSError as error:  # EINVAL if a user namespace does not have the group
            raise OSError(
                error.errno,
                "cannot give the socket to socket_group: the user that Sitelatch runs as must be root or in the group",
            ) from None
    if mode is not None:
        os.chmod(path, mode)


def _clear_stale_socket(path: str) -> None:
    """Remove the socket file of a killed server. Keep the file of a running server, so that listening fails."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a running server whose queue is full would block the probe
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass  # then binding reports the problem
