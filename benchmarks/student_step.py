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

import argparse
import ast
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.common import Row, bootstrap, interleave, options, ratios, report, say
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.methods.ta_dfkd import TADFKD, TADFKDConfig
from dfkd_core.networks.classifiers import build_classifier, freeze

TARGET = 0.4
MAIN = "TA-DFKD-main-CIFAR.py"
IMAGE = ImageSpec(3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), tuple(str(index) for index in range(10)))

# --- ours ------------------------------------------------------------------------------------------------------


def build_ours(batch: int, steps: int, cut: float) -> TADFKD:
    """TA-DFKD with the paper's settings on an untrained teacher with sensible BatchNorm statistics."""
    torch.manual_seed(0)
    teacher, student = build_classifier("resnet34", IMAGE), build_classifier("resnet18", IMAGE)
    config = TADFKDConfig.build("paper", {"batch_size": batch, "student_steps": steps, "posterior_cut": cut})
    for network in (teacher, student):
        network.to(memory_format=torch.channels_last)
    assert isinstance(config, TADFKDConfig)
    method = TADFKD(Problem(teacher, student, IMAGE, torch.device("cpu")), config)
    _calibrate(teacher, method)
    freeze(teacher)
    return method


@torch.no_grad()
def _calibrate(teacher: nn.Module, method: TADFKD) -> None:
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = None  # the plain mean over batches
    teacher.train()
    for _ in range(2):
        teacher(IMAGE.normalise(method.generator(torch.randn(32, method.config.latent))))


# --- theirs ----------------------------------------------------------------------------------------------------


class Released:
    """The authors' student step, from their own file."""

    def __init__(self, checkout: Path, ours: TADFKD) -> None:
        tree = ast.parse((checkout / MAIN).read_text())
        loop = _loop_over(_function(tree, "main"), "k")
        self.step = compile(ast.Module(loop.body, []), MAIN, "exec")
        self.names = _module_level(tree, checkout)
        self._fill(ours)
        self.kept = Counter(self.names["Sample_Selection"])

    def _fill(self, ours: TADFKD) -> None:
        """What their ``main`` has set up when the loop begins."""
        names, c = self.names, ours.config
        resnet, gan = names["resnet"], names["gan"]
        teacher, student = resnet.ResNet34(num_classes=10), resnet.ResNet18(num_classes=10)
        generator = gan.Generator(nz=c.latent)
        pairs: list[tuple[nn.Module, nn.Module]]
        pairs = [(teacher, ours.teacher), (student, ours.student), (generator, ours.generator)]
        for theirs, own in pairs:
            _copy(own, theirs)
        hooks = [
            names["deepinversion"].DeepInversionFeatureHook(layer)
            for layer in teacher.modules()
            if isinstance(layer, nn.BatchNorm2d)
        ]
        optimizer = torch.optim.SGD(student.parameters(), lr=c.student_lr, weight_decay=c.weight_decay, momentum=0.9)
        names |= {
            "args": argparse.Namespace(
                method="sample_selection",
                batch_size=c.batch_size,
                latent_dim=c.latent,
                selection_score=c.posterior_cut,
            ),
            "teacher": nn.DataParallel(teacher).eval(),
            "student": nn.DataParallel(student).train(),
            "generator": nn.DataParallel(generator).train(),
            "loss_r_feature_layers": hooks,
            "optimizer_S": optimizer,
        }

    def __call__(self, steps: int) -> None:
        """Carry out ``steps`` student steps."""
        with _cuda_does_nothing(), redirect_stdout(StringIO()):
            for _ in range(steps):
                exec(self.step, self.names)


class Counter:
    """Listens to their selection: how many samples it saw and kept."""

    def __init__(self, module: Any) -> None:
        self.seen = self.clean = 0
        self._split = module.split
        module.split = self

    def __call__(self, teacher: nn.Module, images: Tensor, labels: Tensor, **options: Any) -> Any:
        kept = self._split(teacher, images, labels, **options)
        self.seen, self.clean = self.seen + len(images), self.clean + len(kept[0])
        return kept


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)


def _loop_over(function: ast.FunctionDef, name: str) -> ast.For:
    loops = (node for node in ast.walk(function) if isinstance(node, ast.For))
    return next(loop for loop in loops if isinstance(loop.target, ast.Name) and loop.target.id == name)


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
    sys.path.insert(0, str(checkout))
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        exec(compile(ast.Module(wanted, []), MAIN, "exec"), names)
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(checkout))
    return names


def _copy(source: nn.Module, target: nn.Module) -> None:
    """The same network in the same order under other names."""
    tensors, state = list(source.state_dict().values()), target.state_dict()
    assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in state.values()]
    target.load_state_dict(dict(zip(state, tensors, strict=True)))


@contextmanager
def _cuda_does_nothing() -> Any:
    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    with ExitStack() as stack:
        for kind in (Tensor, nn.Module):
            stack.enter_context(patch.object(kind, "cuda", stay))
        yield


# --- the comparison --------------------------------------------------------------------------------------------


def check_same_networks(ours: TADFKD, released: Released) -> None:
    """Both teachers answer alike on the same latents. Exits otherwise."""
    with torch.no_grad():
        latents = torch.randn(8, ours.config.latent)
        ours.generator.eval()
        released.names["generator"].eval()
        one = ours.teacher(IMAGE.normalise(ours.generator(latents)))
        other = released.names["teacher"](released.names["Augmentation"](released.names["generator"](latents))[1])
        ours.generator.train()
        released.names["generator"].train()
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max())):
        raise SystemExit(f"the two sides differ: {float((one - other).abs().max()):.3g} between the teachers' logits")


def measure(checkout: Path, batch: int, steps: int, cut: float, rounds: int) -> dict[str, Any]:
    """Seconds of ``steps`` student steps of both, in turn, and the shares of samples kept."""
    ours = build_ours(batch, steps, cut)
    released = Released(checkout, ours)
    check_same_networks(ours, released)
    drawn = {"drawn": 0, "kept": 0}

    def own_steps() -> None:
        asked, kept = ours.queries, next(ours.steps())
        ours.student_phase(kept)
        share = kept.numbers["kept"]
        assert isinstance(share, float)
        drawn["drawn"] += ours.queries - asked
        drawn["kept"] += round(share * (ours.queries - asked))

    arms = {"ours": own_steps, "released": lambda: released(steps)}
    ours.config = ours.config.model_copy(update={"student_steps": 1})
    own_steps()  # warm both up
    released(1)
    ours.config = ours.config.model_copy(update={"student_steps": steps})
    measured = interleave({name: _timed(arm, steps) for name, arm in arms.items()}, rounds)
    kept = {"ours": drawn["kept"] / drawn["drawn"], "released": released.kept.clean / released.kept.seen}
    return {"cpu_seconds_per_step": measured, "kept": kept}


def _timed(action: Callable[[], None], steps: int) -> Callable[[int], float]:
    def timed(_: int) -> float:
        started = time.process_time()
        action()
        return (time.process_time() - started) / steps

    return timed


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--released", type=Path, required=True, help="a checkout of the authors' repository")
        parser.add_argument("--batch", type=int, default=64, help="images a batch (default 64)")
        parser.add_argument("--steps", type=int, default=10, help="student steps, k, a round (default 10)")
        parser.add_argument("--rounds", type=int, default=5, help="of both, for each setting (default 5)")

    asked = options("student_step", __doc__, add)
    if not (asked.released / MAIN).is_file():
        raise SystemExit(f"--released: there is no {MAIN} in that folder")
    batch, steps, rounds = (16, 2, 2) if asked.quick else (asked.batch, asked.steps, asked.rounds)
    rows, details = [], {}
    for setting, cut in (("published cut", 0.5), ("all samples kept", 0.0)):
        say(setting)
        details[setting] = found = measure(asked.released, batch, steps, cut, rounds)
        rows.append(_row(setting, found, batch))
    report("student_step", asked.quick, rows, details)


def _row(setting: str, found: dict[str, Any], batch: int) -> Row:
    times, kept = found["cpu_seconds_per_step"], found["kept"]
    ratio = ratios(times["ours"], times["released"])
    seconds = " against ".join(f"{bootstrap(times[name]).median:.2f} s" for name in ("ours", "released"))
    shares = ", ".join(f"{name} {share:.0%}" for name, share in kept.items())
    what = f"Student step, ours against the released, ResNet-34 → ResNet-18, B = {batch}, one thread, {setting}"
    return Row(what, f"{ratio}; {seconds}; kept: {shares}", f"≤ {TARGET}", ratio.median <= TARGET, ratio.median)


if __name__ == "__main__":
    main()
