"""Checkpoints: safetensors files whose names carry their checksum, written whole, two kept. No pickle is read."""

import json
import os
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dmash_core.errors import UserError


def crc32(path: Path) -> str:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict, checksum: bool = False) -> Path:
    """Write tensors and JSON-able ``meta`` as one file, whole or not at all; returns its path.

    With ``checksum`` the file's CRC-32 goes into its name, before the suffix. Raises UserError where the place cannot
    be written or the disk is full; then nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        save_file(tensors, temporary, metadata={"dmash": json.dumps(meta)})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if checksum:
            path = path.with_name(f"{path.stem}.{crc32(temporary)}{path.suffix}")
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and meta of a file of ``write_tensors``; UserError naming what is wrong with it."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["dmash"])
            return {k: file.get_tensor(k) for k in file.keys()}, meta
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error}") from error


class CheckpointFolder:
    """The checkpoints of one run in progress: ``step-<step>.<crc>.safetensors``, the newest two."""

    def __init__(self, folder: Path):
        self.folder = folder

    def paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def save(self, step: int, tensors: dict[str, torch.Tensor], meta: dict) -> None:
        kept = write_tensors(self.folder / f"step-{step:09d}.safetensors", tensors, meta, checksum=True)
        before = [p for p in self.paths() if p.name != kept.name]
        for path in before[1:]:
            path.unlink()

    def load(self, say=print) -> tuple[dict[str, torch.Tensor], dict] | None:
        """The newest whole checkpoint; a damaged one is named, set aside and the one before it is taken."""
        for path in self.paths():
            try:
                if crc32(path) != path.name.split(".")[1]:
                    raise UserError(f"{path} does not match its checksum")
                return read_tensors(path)
            except UserError as error:
                say(f"damaged checkpoint left aside: {error}")
                path.rename(path.with_suffix(".damaged"))
        return None

    def clear(self) -> None:
        """Remove the folder of a finished run."""
        for path in self.folder.glob("*"):
            path.unlink()
        self.folder.rmdir()
