"""TA-DFKD at the paper's settings, ResNet-34 → ResNet-18, 32×32: ours, and the authors' own code beside it.

Nothing of theirs is in this repository: their student step, the body of ``for k in range(10)`` in their ``main``, is
cut out of their file when this runs and executed with their networks, their augmentation and their selection, as it is;
on a CPU ``.cuda()`` does nothing. Both sides get the same teacher, student and generator: ours are built, the teacher's
BatchNorm statistics are set from the generator's images, and the weights are copied over.
"""

from __future__ import annotations

import ast
import sys
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.method import placed
from dfkd_core.methods.ta_dfkd import TADFKD, TADFKDConfig
from dfkd_core.networks.classifiers import build_classifier, freeze

MAIN = "TA-DFKD-main-CIFAR.py"
IMAGE = ImageSpec(3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), tuple(str(index) for index in range(10)))
CPU = torch.device("cpu")

# --- ours ------------------------------------------------------------------------------------------------------


class Ours:
    """TA-DFKD with the paper's settings on an untrained teacher with sensible BatchNorm statistics."""

    def __init__(self, batch: int, cut: float, device: torch.device = CPU) -> None:
        torch.manual_seed(0)
        teacher, student = (placed(build_classifier(name, IMAGE), device) for name in ("resnet34", "resnet18"))
        config = TADFKDConfig.build("paper", {"batch_size": batch, "posterior_cut": cut})
        assert isinstance(config, TADFKDConfig)
        self.method = TADFKD(Problem(teacher, student, IMAGE, device), config)
        self.kept = self.drawn = 0.0
        for layer in batch_norms(teacher):
            layer.momentum = None  # the plain mean over batches
        teacher.train()
        with torch.no_grad():
            for _ in range(2):
                teacher(IMAGE.normalise(self.method.generator(torch.randn(32, config.latent, device=device))))
        freeze(teacher)

    def __call__(self, steps: int) -> None:
        """Carry out ``steps`` student steps."""
        method = self.method
        method.config = method.config.model_copy(update={"student_steps": steps})
        asked, seen = method.queries, next(method.steps())
        method.student_phase(seen)
        share = seen.numbers["kept"]
        assert isinstance(share, float)
        self.drawn += method.queries - asked
        self.kept += share * (method.queries - asked)


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


# --- theirs ----------------------------------------------------------------------------------------------------


class Released:
    """The authors' student step, from their own file."""

    def __init__(self, checkout: Path, ours: TADFKD) -> None:
        tree = ast.parse((checkout / MAIN).read_text())
        main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
        loops = (node for node in ast.walk(main) if isinstance(node, ast.For))
        loop = next(node for node in loops if isinstance(node.target, ast.Name) and node.target.id == "k")
        self.on_cpu = ours.device.type == "cpu"
        self.step = compile(ast.Module(loop.body, []), MAIN, "exec")
        self.names = _module_level(tree, checkout)
        self._fill(ours)
        self.kept = self.drawn = 0.0
        selection = self.names["Sample_Selection"]
        self.split, selection.split = selection.split, self._counted

    def _counted(self, teacher: nn.Module, images: Tensor, labels: Tensor, **options: Any) -> Any:
        """Their selection, listened to: how many samples it saw and kept."""
        kept = self.split(teacher, images, labels, **options)
        self.drawn, self.kept = self.drawn + len(images), self.kept + len(kept[0])
        return kept

    def _fill(self, ours: TADFKD) -> None:
        """What their ``main`` has set up when the loop begins."""
        names, c = self.names, ours.config
        teacher, student = names["resnet"].ResNet34(num_classes=10), names["resnet"].ResNet18(num_classes=10)
        generator = names["gan"].Generator(nz=c.latent)
        _copy(ours.teacher, teacher)
        _copy(ours.student, student)
        _copy(ours.generator, generator)
        hooks = [names["deepinversion"].DeepInversionFeatureHook(layer) for layer in batch_norms(teacher)]
        for network in (teacher, student, generator):
            network.to(ours.device)
        optimizer = torch.optim.SGD(student.parameters(), lr=c.student_lr, weight_decay=c.weight_decay, momentum=0.9)
        asked = {"batch_size": c.batch_size, "latent_dim": c.latent, "selection_score": c.posterior_cut}
        names |= {
            "args": SimpleNamespace(method="sample_selection", **asked),
            "teacher": nn.DataParallel(teacher).eval(),
            "student": nn.DataParallel(student).train(),
            "generator": nn.DataParallel(generator).train(),
            "loss_r_feature_layers": hooks,
            "optimizer_S": optimizer,
        }

    def __call__(self, steps: int) -> None:
        """Carry out ``steps`` student steps."""
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(StringIO()))
            for kind in (Tensor, nn.Module) if self.on_cpu else ():
                stack.enter_context(patch.object(kind, "cuda", stays))
            for _ in range(steps):
                exec(self.step, self.names)


def stays(self: Any, *_: Any, **__: Any) -> Any:
    """What ``.cuda()`` does here."""
    return self


def _module_level(tree: ast.Module, checkout: Path) -> dict[str, Any]:
    """Their imports, helpers and augmentation; not ``main``, nor the call of it."""
    wanted: list[ast.stmt] = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef)
        or (isinstance(node, ast.FunctionDef) and node.name != "main")
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Augmentation")
    ]
    names: dict[str, Any] = {"__name__": "released"}
    with patch.object(sys, "path", [str(checkout), *sys.path]), patch.object(sys, "dont_write_bytecode", True):
        exec(compile(ast.Module(wanted, []), MAIN, "exec"), names)
    return names


def _copy(source: nn.Module, target: nn.Module) -> None:
    """The same network in the same order under other names."""
    tensors, state = list(source.state_dict().values()), target.state_dict()
    assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in state.values()]
    target.load_state_dict(dict(zip(state, tensors, strict=True)))


@torch.no_grad()
def check_same_networks(ours: TADFKD, released: dict[str, Any]) -> None:
    """Both teachers answer alike on the same latents. Exits otherwise."""
    latents, generators = (
        torch.randn(8, ours.config.latent, device=ours.device),
        (ours.generator.eval(), released["generator"].eval()),
    )
    own, theirs = (generator(latents) for generator in generators)
    one, other = ours.teacher(IMAGE.normalise(own)), released["teacher"](released["Augmentation"](theirs)[1])
    for generator in generators:
        generator.train()
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max())):
        raise SystemExit(f"the two sides differ: {float((one - other).abs().max()):.3g} between the teachers' logits")
