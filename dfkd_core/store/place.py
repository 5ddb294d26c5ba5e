"""Files below one folder: no link is followed on the way to them, and they are either the old ones or the new ones,
never half of either.

A run's folder is input: it may come from a stranger. It may itself be reached through a link, since people keep runs
on other disks; nothing below it may.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from dfkd_core.errors import DamagedError, StoreError, explain
from dfkd_core.store.sealed import sealed, unsealed

T = TypeVar("T")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe must not wait for its other end
_NO_FILE = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.ENXIO)  # links, folders, pipes, sockets


def is_plain(name: object) -> bool:
    """Whether ``name`` is that of one file or folder, and so leads nowhere else when it is put behind a path; and can
    be written down: bytes that are no text are not."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


class Place:
    """The folder ``path``, which need not exist yet; ``title`` is what messages call it.

    Names of files are relative to it, ``samples/00000012.png``. All methods raise ``StoreError`` for a name that would
    lead elsewhere, for a link, and for what is no regular file; else ``OSError`` as ``open`` does.
    """

    def __init__(self, path: Path, title: str = "") -> None:
        self.path, self.title = Path(path), title or str(path)

    # --- reading ---

    def open(self, name: str) -> BinaryIO:
        return os.fdopen(self._open(name, os.O_RDONLY), "rb")

    def read(self, name: str, sha256: str = "") -> bytes:
        """All of it. Raises ``DamagedError`` unless it has the hash, where one is given."""
        try:
            with self.open(name) as file:
                data = file.read()
        except FileNotFoundError:
            if sha256:
                raise DamagedError(f"{self.title}: {name} is gone") from None
            raise
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedError(f"{self.title}: {name} is damaged: its SHA-256 does not fit")
        return data

    def read_json(self, name: str, model: TypeAdapter[T]) -> T | None:
        """What ``write_json`` wrote, as ``model`` has it; None if it is not there. Raises ``DamagedError`` with what is
        wrong with which field."""
        try:
            return model.validate_json(unsealed(self.read(name)))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            said = f"{name} is damaged, or of another version of the lab: {explain(error)}"
            raise DamagedError(f"{self.title}: {said}") from None
        except ValueError as error:
            raise DamagedError(f"{self.title}: {name} is damaged: {error}") from None
        except OSError as error:
            raise DamagedError(f"{self.title}: {name} cannot be read ({error.strerror})") from None

    def tail(self, name: str, offset: int) -> bytes:
        """What follows the first ``offset`` bytes; nothing while there is no such file."""
        try:
            with self.open(name) as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def exists(self, name: str) -> bool:
        """Whether something of that name is there."""
        return self.changed(name) is not None

    def changed(self, name: str) -> int | None:
        """When it was written last, in nanoseconds since 1970; None if it is not there."""
        parent, last = self._split(name)
        try:
            with self.folder(parent) as folder:
                return os.stat(last, dir_fd=folder, follow_symlinks=False).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder, in alphabetical order; nothing where there is no such folder."""
        try:
            with self.folder(folder) as found:
                return sorted(os.listdir(found))
        except FileNotFoundError:
            return []

    def walk(self) -> Iterator[str]:
        """Names of all files below, in alphabetical order; links and the like are passed over, and what is deleted
        meanwhile."""
        return (name for name, mode in self._all("") if stat.S_ISREG(mode))

    def strange(self) -> Iterator[str]:
        """What ``walk`` passes over: whatever is neither a folder nor a regular file."""
        return (name for name, mode in self._all("") if not stat.S_ISREG(mode))

    def _all(self, folder: str) -> Iterator[tuple[str, int]]:
        found = []
        with self.folder(folder) as handle, os.scandir(handle) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
        for name, mode in sorted(found):
            path = f"{folder}/{name}" if folder else name
            if stat.S_ISDIR(mode):
                with suppress(FileNotFoundError):
                    yield from self._all(path)
            else:
                yield path, mode

    # --- writing; folders that are missing are made ---

    def write(self, name: str, data: bytes, durable: bool = True) -> None:
        """Write beside, fsync, rename over, fsync the folder. ``durable=False`` skips the syncs (survives a kill of
        the process, not a power cut)."""
        parent, last = self._split(name)
        beside = f".{last}.{secrets.token_hex(4)}.part"
        with self.folder(parent, make=True) as folder:
            try:
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o666, dir_fd=folder)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                os.replace(beside, last, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                with suppress(OSError):
                    os.unlink(beside, dir_fd=folder)
                error.filename = str(self.path / name)
                raise
            if durable:
                os.fsync(folder)

    def write_json(self, name: str, value: dict[str, Any], durable: bool = True) -> None:
        """``write`` of indented JSON with its checksum."""
        self.write(name, sealed(value, indent=1), durable)

    def append(self, name: str) -> FileIO:
        """Open, or begin, a file to append to, without a buffer. One that has a second name elsewhere is refused."""
        descriptor = self._open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, make=True)
        if os.fstat(descriptor).st_nlink != 1:
            os.close(descriptor)
            raise StoreError(f"{self.title}: {name} is linked with a file elsewhere, so it is not written to")
        return FileIO(descriptor, "ab")

    def create(self, name: str) -> FileIO:
        """A new file, open to read and write, without a buffer. Raises ``FileExistsError``."""
        return FileIO(self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, make=True), "rb+")

    def remove(self, name: str) -> None:
        """Delete a file, or a link itself, if it is there."""
        parent, last = self._split(name)
        with suppress(FileNotFoundError), self.folder(parent) as folder:
            os.unlink(last, dir_fd=folder)

    # --- opening ---

    @contextmanager
    def folder(self, name: str = "", make: bool = False) -> Iterator[int]:
        """The descriptor of a folder below, or of the place itself."""
        handle = os.open(self.path, _FOLDER)
        try:
            parts = self._parts(name) if name else []
            for depth, part in enumerate(parts, 1):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                try:
                    inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except OSError as error:
                    if error.errno in _NO_FILE:
                        raise self._refused("/".join(parts[:depth]), handle, "folder") from None
                    raise
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _open(self, name: str, flags: int, make: bool = False) -> int:
        parent, last = self._split(name)
        with self.folder(parent, make) as folder:
            try:
                descriptor = os.open(last, flags | _FILE, 0o666, dir_fd=folder)
            except OSError as error:
                if error.errno in _NO_FILE:
                    raise self._refused(name, folder, "file") from None
                raise
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            raise self._refused(name, folder, "file")

    def _refused(self, name: str, folder: int, kind: str) -> StoreError:
        """Why ``name``, whose last part lies in ``folder``, was not opened."""
        with suppress(OSError):
            if stat.S_ISLNK(os.stat(self._split(name)[1], dir_fd=folder, follow_symlinks=False).st_mode):
                return StoreError(f"{self.title}: {name} is a link, and links in its folder are not followed")
        return StoreError(f"{self.title}: {name} is not a regular {kind}")

    def _split(self, name: str) -> tuple[str, str]:
        *parents, last = self._parts(name)
        return "/".join(parents), last

    def _parts(self, name: str) -> list[str]:
        parts = name.split("/") if isinstance(name, str) else [""]
        if not all(map(is_plain, parts)):
            raise StoreError(f"{self.title}: {name!r:.80} is not the name of a file in its folder")
        return parts
