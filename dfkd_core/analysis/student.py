"""A run's student for other programs: its weights, or a program of ``torch.export`` or ONNX, each with the lines that
load it. The programs take pixels from 0 to 1 and normalise them themselves. Imports torch only where it is needed."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_core.errors import DamagedError, RequestError, validated
from dfkd_core.images import ImageSpec
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from dfkd_core.teachers.cards import ImageCard, find_card

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

WEIGHTS = "student.safetensors"
NOT_INSTALLED = (
    "needs the packages onnx and onnxscript: pip install 'dfkd-lab[export]', or pip install onnx onnxscript."
)


def weights(folder: RunFolder) -> bytes:
    """The file of its weights. Raises ``RequestError`` before a run has it, and ``DamagedError`` where it is not what
    the manifest says."""
    if sha256 := folder.manifest().get(WEIGHTS):
        return folder.files.read(WEIGHTS, sha256)
    if (state := folder.status_seen().state) == "done":
        raise DamagedError(f"{folder.files.title}: manifest.json, which its student is held against, is gone")
    raise RequestError("run", folder.id, f"has no student's weights: it is {state}, and not done.")


def program(folder: RunFolder) -> bytes:
    """A program of ``torch.export``, pixels (B, C, H, W) from 0 to 1 -> logits (B, K), for any batch size. Raises
    ``RequestError`` for a generative student, and where there is none yet."""
    import torch

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "student.pt2"
        torch.export.save(_exported(folder), file)
        return file.read_bytes()


def onnx(folder: RunFolder) -> bytes:
    """The same as ONNX, with the input ``pixels`` and the output ``logits``. Raises ``RequestError``, also where
    onnx is not installed."""
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise RequestError("as", "onnx", NOT_INSTALLED)
    import torch

    with tempfile.TemporaryDirectory() as place, redirect_stdout(io.StringIO()):
        file = Path(place) / "student.onnx"
        exported, given, gives = _exported(folder), ["pixels"], ["logits"]
        torch.onnx.export(exported, f=file, input_names=given, output_names=gives, external_data=False, verbose=False)
        return file.read_bytes()


def image_of(folder: RunFolder) -> ImageSpec:
    """What teacher and student of a run take, as it wrote down itself: a teacher of that name may be gone or another by
    now. Before the run has begun, as the card says. Raises ``RequestError`` where that is gone."""
    if (known := folder.environment().get("image")) is not None:
        return validated(ImageCard, known).spec()
    return find_card(read_spec(folder).teacher)[0].image.spec()


def snippet(folder: RunFolder, kind: str) -> str:
    """Python that loads the file ``student.ENDING`` of ``kind`` (``safetensors``, ``torch`` or ``onnx``), and has its
    ``logits`` of one black image; of a generative one only the network."""
    spec = read_spec(folder)
    image = image_of(folder)
    shape = f"1, {image.channels}, {image.size}, {image.size}"
    kind = GENERATIVE if kind == "safetensors" and spec.is_generative else kind
    return SNIPPETS[kind].format(shape=shape, image=image, student=spec.student)


GENERATIVE = "generative"
SNIPPETS = {
    GENERATIVE: """\
from safetensors.torch import load_file

from dfkd_core.images import ImageSpec
from dfkd_core.networks.latent import build_latent_model

image = {image!r}
student = build_latent_model({student!r}, image).eval()
student.load_state_dict(load_file("student.safetensors"))
""",
    "safetensors": """\
import torch
from safetensors.torch import load_file

from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import build_classifier

image = {image!r}
student = build_classifier({student!r}, image).eval()
student.load_state_dict(load_file("student.safetensors"))
pixels = torch.zeros({shape})  # from 0 to 1
logits = student(image.normalise(pixels))
""",
    "torch": """\
import torch

student = torch.export.load("student.pt2").module()
pixels = torch.zeros({shape})  # from 0 to 1: the program normalises them
logits = student(pixels)
""",
    "onnx": """\
import numpy as np
import onnxruntime

student = onnxruntime.InferenceSession("student.onnx")
pixels = np.zeros(({shape}), np.float32)  # from 0 to 1: the program normalises them
(logits,) = student.run(None, {{"pixels": pixels}})
""",
}
"""Lines that load a file, by its kind."""


def load_student(folder: RunFolder) -> tuple[nn.Module, ImageSpec]:
    """The student of a run that has ended, in eval mode. Raises ``RequestError`` where it is a generative one, has no
    weights yet, or they do not fit."""
    from dfkd_core.networks.classifiers import build_classifier, freeze
    from dfkd_core.networks.weights import WeightsError, fill, from_safetensors

    spec = read_spec(folder)
    if spec.is_generative:
        raise RequestError("run", folder.id, "has a generative student, which can be taken as safetensors only.")
    data, image = weights(folder), image_of(folder)
    network = build_classifier(spec.student, image)
    try:
        fill(network, from_safetensors(data))
    except WeightsError as error:
        raise RequestError("run", folder.id, f"has weights that do not fit its student: {error}.") from None
    return freeze(network), image


def _exported(folder: RunFolder) -> ExportedProgram:
    import torch
    from torch import Tensor, nn

    class Program(nn.Module):
        """Normalises, and asks the student."""

        def __init__(self, network: nn.Module, image: ImageSpec) -> None:
            super().__init__()
            self.network = network
            self.mean = nn.Buffer(torch.tensor(image.mean).view(1, -1, 1, 1))
            self.std = nn.Buffer(torch.tensor(image.std).view(1, -1, 1, 1))

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.network((pixels - self.mean) / self.std)
            return logits

    network, image = load_student(folder)
    example = torch.zeros(2, image.channels, image.size, image.size)
    shapes = {"pixels": {0: torch.export.Dim("batch")}}
    return torch.export.export(Program(network, image).eval(), (example,), dynamic_shapes=shapes)
