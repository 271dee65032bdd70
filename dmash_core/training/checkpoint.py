"""Checkpoints: safetensors files, written atomically, with the checksum in the name; two are kept. No pickle."""

import contextlib
import hashlib
import json
import os
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dmash_core.errors import UserError
from dmash_core.methods import with_current_names


def crc32(path: Path) -> str:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _digest(tensors: dict[str, torch.Tensor], meta: dict) -> str:
    """sha256 (hex) of CPU tensors, including names, dtypes and shapes, and of the metadata without the digest."""
    sha = hashlib.sha256(json.dumps({k: v for k, v in meta.items() if k != "digest"}, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


def write_tensors(
    path: Path, tensors: dict[str, torch.Tensor], meta: dict, checksum: bool = False, digest: bool = False
) -> Path:
    """Write tensors and JSON-serialisable ``meta`` to one file, whole or not at all; returns its path.

    ``checksum`` adds the file's CRC-32 to its name, before the suffix; ``digest`` adds the content's sha256 to the
    metadata. Raises UserError if the path is not writable or the disk is full, and then leaves nothing behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        if digest:
            meta = meta | {"digest": _digest(tensors, meta)}
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask allows; save_file lets nobody but the owner read
        save_file(tensors, temporary, metadata={"dmash": json.dumps(meta)})
        temporary.chmod(mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if checksum:
            path = path.with_name(f"{path.stem}.{crc32(temporary)}{path.suffix}")
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with contextlib.suppress(OSError):  # the folder has become read-only: the error above reports it
            temporary.unlink(missing_ok=True)
    return path


def read_tensors(path: Path, digest: bool = False) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and metadata of a file written by ``write_tensors``; UserError says what is wrong with a bad file.

    With ``digest``, a file without a digest, or whose content does not match it, is rejected.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["dmash"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error}") from error
    if digest and "digest" not in meta:
        raise UserError(f"{path} has no digest: it was written by an earlier agent and cannot be read")
    if digest and meta["digest"] != _digest(tensors, meta):
        raise UserError(f"{path} does not match its digest, so it was damaged or edited")
    if "config" in meta:
        meta["config"] = with_current_names(meta["config"])
    return tensors, meta


class CheckpointFolder:
    """The newest two checkpoints of a run in progress: ``step-<step>.<crc>.safetensors``."""

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
        """The newest intact checkpoint; damaged ones are reported and set aside."""
        for path in self.paths():
            try:
                if crc32(path) != path.name.split(".")[1]:
                    raise UserError(f"{path} does not match its checksum")
                return read_tensors(path)
            except UserError as error:
                say(f"skipped a damaged checkpoint: {error}")
                path.rename(path.with_suffix(".damaged"))
        return None

    def damaged(self) -> list[str]:
        """Names of the damaged checkpoints that were set aside."""
        return sorted(path.name for path in self.folder.glob("*.damaged"))

    def keep_newest(self) -> None:
        """Remove everything but the newest checkpoint."""
        for path in {*self.folder.glob("*")} - {*self.paths()[:1]}:
            path.unlink()


def of_seeds(tensors: dict[str, torch.Tensor], meta: dict, chosen: list[int]) -> tuple[dict, dict]:
    """The part of a block's checkpoint that belongs to some of its seeds, given by their indices in the block."""

    def own(values):  # in seed-major order, one or more per seed
        size = len(values) // len(meta["seeds"])
        return [values[i] for seed in chosen for i in range(seed * size, (seed + 1) * size)]

    kept = {}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        if part == "generator":
            if int(name) in chosen:
                kept[f"generator.{chosen.index(int(name))}"] = tensor
        elif part == "returns":
            kept[key] = tensor[:, chosen]
        else:  # a scalar, such as an optimiser's step count, is shared by all seeds
            kept[key] = torch.stack(own(tensor)) if tensor.ndim else tensor
    diagnostics = [{name: own(values) for name, values in one.items()} for one in meta["diagnostics"]]
    parts = {"seeds": own(meta["seeds"]), "streams": own(meta["streams"]), "diagnostics": diagnostics}
    return kept, meta | parts
