"""Files that hold no weights are named; those that mean harm are refused, in little memory and without being run."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import bring, refused, shipped
from conftest import ROOT
from repositories import State, saved
from safetensors.torch import save
from torch import nn

from dfkd_core.errors import RequestError
from dfkd_core.teachers.bring import import_weights

state = pytest.fixture(shipped)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def entries_of(state: object) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(saved(state))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- what is not weights -----------------------------------------------------------------------------------------


def test_what_is_no_file_of_weights_is_named(state: State, tmp_path: Path) -> None:
    whole = saved(state)
    script = zipped({"net/data.pkl": b"\x80\x02}.", "net/constants.pkl": b"\x80\x02).", "net/code/a.py": b""})
    for data, words in {
        b"": "empty",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "Git LFS pointer",
        b"<!DOCTYPE html><html>": "a web page",
        b'{"error": "not found"}': "JSON",
        b"Entry not found": "text ('Entry not found'",
        b"\x89HDF\r\n\x1a\n": "HDF5",
        b"\x1f\x8b\x08": "gzip",
        b"\x08\x08\x12\x07pytorch": "ONNX",
        b"\x93NUMPY": "NumPy",
        script: "TorchScript",
        zipped({"arr_0.npy": b""}): "NumPy",
        zipped({"a/b.txt": b""}): "a ZIP archive of b.txt",
        whole[: len(whole) // 2]: "half a download",
        save(state)[:-1000]: "half a download",
        saved(state, _use_new_zipfile_serialization=False)[:-9000]: "half a download",
        saved(nn.Linear(2, 2)): "torch.save(network.state_dict(), FILE)",
        saved({"net": nn.Linear(2, 2), "epoch": 1}): "of the class torch.nn.modules.linear.Linear",
        pickle.dumps(state): "a plain pickle",
        saved({"epoch": 3}): "no tensors by name",
    }.items():
        assert words in refused(data), words
    assert "No such file" in refused(tmp_path / "gone.pt")


def test_import_says_what_is_wrong_with_the_request(state: State, tmp_path: Path) -> None:
    assert "folder:PATH" in refused(state, "letters", field="benchmark")
    torch.save(state, tmp_path / "w.pt")
    for name, words in (("../mine", "name"), ("digits-lenet5-long", "taken")):
        with pytest.raises(RequestError, match=words):
            import_weights(tmp_path / "w.pt", "resnet8", "digits", name, tmp_path / "teachers")
    assert not (tmp_path / "teachers").exists()


# --- what means harm ---------------------------------------------------------------------------------------------


class Harm:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def hostile(state: State) -> dict[str, bytes]:
    """Files of a few kilobytes that would fill memory, or lie."""
    entries = entries_of(state)
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    bombs = {name: bytes(1 << 26) if name.endswith("/data/0") else data for name, data in entries.items()}
    legacy = saved(state, _use_new_zipfile_serialization=False)
    headers: list[Any] = [
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"a": 3}, [],
    ]  # fmt: skip
    lying = [json.dumps(header).encode() for header in headers]
    wide = {name: torch.zeros(1).expand(1 << 40) for name in state}

    def pickles(data: bytes) -> bytes:
        return zipped({**entries, pickled: data})

    return {
        "a deflated bomb": zipped(bombs, zipfile.ZIP_DEFLATED),
        "elements that are not there": saved(wide),
        "a bytearray of any length": pickles(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x40\x85R."),
        "a memo of any length": pickles(b"\x80\x02]r\xff\xff\xff\xff."),
        "a string of any length": pickles(b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b"abc."),
        "too many objects": pickles(b"\x80\x02" + b"}" * 1_100_000 + b"."),
        "nested": pickles(b"\x80\x02" + b"]" * 40_000 + b"a" * 39_999 + b"."),
        "laughs as a key": pickles(b"\x80\x02})" + b"2\x86" * 3000 + b"Ns."),
        "marks": pickles(b"(" * 100_000 + b"."),
        "a storage that is not there": zipped({name: data for name, data in entries.items() if "/data/" not in name}),
        "short storages": zipped({name: data[:8] if "/data/" in name else data for name, data in entries.items()}),
        "an old file with a huge storage": legacy.replace((10).to_bytes(8, "little"), b"\xff" * 7 + b"\x00"),
        "an old file with huge shapes": legacy.replace(b"K\x0aK\x40", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f"),
        "a list": saved([torch.zeros(1)]), "numbers": saved({"a": 1.0}), "an empty zip": zipped({}), "torn": b"PK",
        **{f"a lying header {at}": len(text).to_bytes(8, "little") + text + bytes(4) for at, text in enumerate(lying)},
        "a long header": (1 << 62).to_bytes(8, "little") + b"{}",
    }  # fmt: skip


def test_pickles_are_refused_and_do_nothing(state: State, tmp_path: Path) -> None:
    harm = Harm(tmp_path / "harmed")
    assert refused(pickle.dumps(harm)) and refused(saved({"a": harm})) and refused(saved(harm))
    assert refused(saved({"a": harm}, _use_new_zipfile_serialization=False))
    assert bring({"model": state, "args": harm, "optimizer": [harm]}).accuracy is not None, (
        "what is not taken is let lie"
    )
    assert not (tmp_path / "harmed").exists()


def test_hostile_files_are_refused_in_little_memory(tmp_path: Path, state: State) -> None:
    for name, data in hostile(state).items():
        (tmp_path / name).write_bytes(data)
    sparse = tmp_path / "a sparse file"
    sparse.write_bytes(hostile(state)["a list"])
    with open(sparse, "r+b") as file:
        file.truncate(1 << 40)
    code = """
import resource, sys
from pathlib import Path
from dfkd_core.errors import RequestError
from dfkd_core.teachers.bring import import_weights
started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        if path.is_file():
            import_weights(path, "", "digits", "mine", path.parent / "teachers")
            print("taken:", path.name)
    except RequestError as error:
        print(error, file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *taken, more = done.stdout.splitlines()
    assert not taken and int(more) < 300, done.stderr
