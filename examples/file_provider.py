"""A state provider in thirty lines: one JSON file per route, replaced whole, in a folder that all processes share."""

import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

from atrion import PhysicsVector


class FileProvider:
    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def from_url(cls, url: str) -> "FileProvider":
        return cls(unquote(urlsplit(url).path))

    async def connect(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    async def disconnect(self) -> None:
        pass

    async def get_vector(self, route_id: str) -> PhysicsVector | None:
        file = self._file(route_id)
        return PhysicsVector(**json.loads(file.read_bytes())) if file.exists() else None

    async def update_vector(self, route_id: str, vector: PhysicsVector) -> None:
        self._write(self._file(route_id), json.dumps(asdict(vector)))

    def _write(self, file: Path, text: str) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as new:
            new.write(text)
        Path(new.name).replace(file)  # a reader sees the old vector or the new one, never half of it

    def _file(self, route_id: str) -> Path:
        return self.folder / hashlib.sha256(route_id.encode("utf-8", "surrogatepass")).hexdigest()
