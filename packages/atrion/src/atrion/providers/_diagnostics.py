"""Diagnoses the folder of a :class:`~atrion.providers.workers.WorkersProvider` without opening the store."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from atrion.providers._lmdb_env import DATA, GATE
from atrion.state.port import Finding

__all__ = ["check_folder"]

REMOTE = {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
"""File systems on which locks and shared memory do not work between hosts."""


def check_folder(path: Path, map_size: int) -> list[Finding]:
    """Findings about a folder and its contents."""
    import lmdb

    version = ".".join(map(str, lmdb.version()))
    found = [Finding("version", "good", f"LMDB {version}, file in {path}")]
    there = _nearest(path)
    if there != path:
        if os.access(there, os.W_OK):
            return [
                *found,
                Finding("folder", "note", f"{path} is not there yet", "it is made on the first connect"),
            ]
        cure = f"mkdir {path}, owned by the user that runs the workers"
        return [*found, Finding("folder", "bad", f"{path} is not there and may not be made", cure)]
    if not path.is_dir():
        return [
            *found,
            Finding("folder", "bad", f"{path} is not a folder", "name another, or move the file away"),
        ]
    found += _rights(path)
    kind = _file_system(path)
    if kind in REMOTE:
        cure = "use a local disk or /dev/shm: LMDB is not safe on a network file system"
        found.append(Finding("file system", "bad", f"{path} is on {kind}", cure))
    free = shutil.disk_usage(path).free
    if free < map_size:
        detail = f"{free >> 20} MiB are free, and the store may grow to {map_size >> 20} MiB"
        found.append(Finding("space", "note", detail, "free some, or give a smaller map_size"))
    if (path / f"{DATA}.broken").exists():
        detail = f"{DATA}.broken is what was set aside when the store was not sound"
        found.append(
            Finding("history", "note", detail, "the host lost power, or somebody wrote to it; delete it")
        )
    return found


def _nearest(path: Path) -> Path:
    return path if path.exists() else next(parent for parent in path.parents if parent.exists())


def _rights(path: Path) -> list[Finding]:
    wanted = [path, *(path / name for name in (GATE, DATA) if (path / name).exists())]
    for place in wanted:
        if not os.access(place, os.R_OK | os.W_OK):
            cure = f"chown {path} and what is in it to the user that runs the workers"
            return [Finding("permissions", "bad", f"this user may not write {place}", cure)]
    if stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH:
        detail = f"everybody may write {path}, and thereby break the store or decide over traffic"
        return [Finding("permissions", "bad", detail, f"chmod o-w {path}")]
    return []


def _file_system(path: Path) -> str:
    """The type of the file system, by the longest matching mount point; empty if unknown."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    real = path.resolve()
    above = [
        (point, kind) for _, point, kind, *_ in mounts if real.is_relative_to(point.replace("\\040", " "))
    ]
    return max(above, key=lambda entry: len(entry[0]), default=("", ""))[1]
