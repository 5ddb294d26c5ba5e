"""A student step of TA-DFKD, ResNet-34 → ResNet-18, 32×32, against the authors' released implementation of the same.

``--released PATH`` is a checkout of the authors' repository (TA-DFKD-main-CIFAR.py, Sample_Selection.py, networks/).
Nothing of it is in this repository: their student step, the body of ``for k in range(10)`` in their ``main``, is cut
out of their file when this runs and executed with their networks, their augmentation and their selection, as it is;
only ``.cuda()`` does nothing. Both sides get the same teacher, student and generator: ours are built, the teacher's
BatchNorm statistics are set from the generator's images, and the weights are copied over.

The teacher is not trained, so the share of samples kept is an accident; since the work depends on it, it is reported
for both, and everything is measured twice: with the published cut, and with a cut of 0 that keeps (almost) all
samples, as late in a training. Ours keeps clean samples beyond B for the next student step, so k steps are timed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any
from unittest.mock import patch

import torch
from cyclopts import Parameter
from torch import Tensor, nn

from benchmarks.report import Quick, Report, Rounds, at_most, command, say
from benchmarks.timing import Times, bootstrap, interleave, ratios, repeated
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.methods.ta_dfkd import TADFKD, TADFKDConfig
from dfkd_core.networks.classifiers import build_classifier, freeze

TARGET = 0.4
MAIN = "TA-DFKD-main-CIFAR.py"
IMAGE = ImageSpec(3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), tuple(str(index) for index in range(10)))

# --- ours ------------------------------------------------------------------------------------------------------


class Ours:
    """TA-DFKD with the paper's settings on an untrained teacher with sensible BatchNorm statistics."""

    def __init__(self, batch: int, cut: float) -> None:
        torch.manual_seed(0)
        teacher, student = build_classifier("resnet34", IMAGE), build_classifier("resnet18", IMAGE)
        for network in (teacher, student):
            network.to(memory_format=torch.channels_last)
        config = TADFKDConfig.build("paper", {"batch_size": batch, "posterior_cut": cut})
        assert isinstance(config, TADFKDConfig)
        self.method = TADFKD(Problem(teacher, student, IMAGE, torch.device("cpu")), config)
        self.kept = self.drawn = 0.0
        for layer in batch_norms(teacher):
            layer.momentum = None  # the plain mean over batches
        teacher.train()
        with torch.no_grad():
            for _ in range(2):
                teacher(IMAGE.normalise(self.method.generator(torch.randn(32, config.latent))))
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
        with patch.object(Tensor, "cuda", stays), patch.object(nn.Module, "cuda", stays), redirect_stdout(StringIO()):
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


# --- the comparison --------------------------------------------------------------------------------------------


@torch.no_grad()
def check_same_networks(ours: TADFKD, released: dict[str, Any]) -> None:
    """Both teachers answer alike on the same latents. Exits otherwise."""
    latents, generators = torch.randn(8, ours.config.latent), (ours.generator.eval(), released["generator"].eval())
    own, theirs = (generator(latents) for generator in generators)
    one, other = ours.teacher(IMAGE.normalise(own)), released["teacher"](released["Augmentation"](theirs)[1])
    for generator in generators:
        generator.train()
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max())):
        raise SystemExit(f"the two sides differ: {float((one - other).abs().max()):.3g} between the teachers' logits")


def compared(checkout: Path, batch: int, steps: int, cut: float, rounds: int) -> tuple[Times, dict[str, float]]:
    """CPU seconds of a student step of both, in turn, ``steps`` at a time, and the shares of samples kept."""
    ours = Ours(batch, cut)
    released = Released(checkout, ours.method)
    check_same_networks(ours.method, released.names)
    sides: dict[str, Ours | Released] = {"ours": ours, "released": released}

    def timed(side: Ours | Released) -> Callable[[int], float]:
        side(1)  # warm up
        side.kept = side.drawn = 0
        return lambda _: repeated(lambda: side(steps), 1)[0].cpu / steps

    seconds = interleave({name: timed(side) for name, side in sides.items()}, rounds)
    return seconds, {name: side.kept / side.drawn for name, side in sides.items()}


def measure(
    *,
    released: Annotated[Path, Parameter(help="A checkout of the authors' repository.")],
    batch: Annotated[int, Parameter(help="Images a batch.")] = 64,
    steps: Annotated[int, Parameter(help="Student steps, k, a round.")] = 10,
    rounds: Rounds = 5,
    quick: Quick = False,
) -> Iterator[Report]:
    if not (released / MAIN).is_file():
        raise SystemExit(f"--released: there is no {MAIN} in that folder")
    batch, steps, rounds = (16, 2, 2) if quick else (batch, steps, rounds)
    rows, details = [], {}
    for setting, cut in (("published cut", 0.5), ("all samples kept", 0.0)):
        say(setting)
        times, kept = compared(released, batch, steps, cut, rounds)
        ratio = ratios(times["ours"], times["released"])
        seconds = " against ".join(f"{bootstrap(values).median:.2f} s" for values in times.values())
        text = f"{ratio}; {seconds}; kept: {', '.join(f'{name} {share:.0%}' for name, share in kept.items())}"
        what = f"Student step, ours against the released, ResNet-34 → ResNet-18, B = {batch}, one thread, {setting}"
        rows.append(at_most(TARGET, what, text, ratio.median))
        details[setting] = {"cpu_seconds_per_step": times, "kept": kept}
    yield Report(rows, details)


if __name__ == "__main__":
    command(measure)
