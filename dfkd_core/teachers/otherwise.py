"""What a file is that holds no weights which could be read, said so that one knows what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MARKS = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the weights: fetch them, git lfs pull"),
    (b"<!doctype", "it is a web page (HTML), not the weights: download the file itself"),
    (b"<html", "it is a web page (HTML), not the weights: download the file itself"),
    (b"<?xml", "it is an answer of a server (XML), not the weights: download the file itself"),
    (b"{", "it is JSON, not the weights: name the file of the weights"),
    (b"\x89hdf", "it is an HDF5 file, of Keras maybe: save a state_dict of torch, or safetensors"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it first"),
    (b"bzh", "it is compressed with bzip2: unpack it first"),
    (b"\xfd7zxz", "it is compressed with xz: unpack it first"),
    (b"7z\xbc\xaf", "it is a 7z archive: unpack it first"),
    (b"rar!", "it is a RAR archive: unpack it first"),
    (b"\x93numpy", "it is a NumPy array: save a state_dict of torch, or safetensors"),
    (b"gguf", "it is a GGUF file: save a state_dict of torch, or safetensors"),
    (b"%pdf", "it is a PDF, not the weights"),
)
"""How such files begin, in lower case, and what is said of them."""

TORCHSCRIPT = (
    "it is TorchScript, a program; export its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
)


def what_else(start: bytes, path: Path, entries: Iterable[str] = ()) -> str:
    """Of a file that begins with ``start``; ``entries`` if it is a ZIP. Without a full stop."""
    if start[:2] == b"PK":
        return _archive(set(entries))
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not text:
        return "it is empty: fetch it again" if not start else "it holds nothing but blanks"
    for mark, sentence in MARKS:
        if text.startswith(mark):
            return sentence
    if start[257:262] == b"ustar":
        return "it is a tar archive: unpack it, and name the file of the weights in it"
    if start.isascii() and b"\0" not in start:
        return f"it is text ({start[:40].decode('ascii')!r} …), not the weights"
    return "it is no file of weights that is known, or a damaged one; it should be safetensors, or saved by torch.save"


def _archive(entries: set[str]) -> str:
    names = {name.rpartition("/")[2] for name in entries}
    if "constants.pkl" in names or any("/code/" in name for name in entries):
        return TORCHSCRIPT
    if any(name.endswith((".npy", ".npz")) for name in names):
        return "it holds NumPy arrays: save a state_dict of torch, or safetensors"
    if {"saved_model.pb", "config.json", "model.weights.h5"} & names:
        return "it holds a model of Keras or TensorFlow: save a state_dict of torch, or safetensors"
    inside = ", ".join(sorted(names - {""})[:3]) or "nothing"
    return f"it is a ZIP archive of {inside}, not of torch: unpack it, and name the file of the weights"
