"""What the mixture takes of a TA-DFKD step, and what scikit-learn's would take on the same losses.

``selection.select`` (scaling, start, fit, posterior) is timed inside real training steps, as a share of their CPU
time, on digits with the preset ``demo`` and with B = 1024. The judged losses are kept, and afterwards scikit-learn's
``GaussianMixture`` with the settings of the released code is fitted to the same ones.
"""

from __future__ import annotations

import argparse
import time
import warnings

from torch import Tensor

from benchmarks.common import Interval, Row, bootstrap, options, report, say
from dfkd_core.events import Step
from dfkd_core.methods import ta_dfkd
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.request import make_spec
from dfkd_core.selection.mixture import Selection, select

TARGET = 0.02


class Stopwatch:
    """Stands in for ``select`` and adds up its CPU time."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.seen: list[Tensor] = []

    def __call__(self, losses: Tensor, threshold: float) -> Selection:
        started = time.process_time()
        verdict = select(losses, threshold)
        self.spent += time.process_time() - started
        self.seen.append(losses)
        return verdict


def measure(changes: dict[str, int], steps: int, warm_up: int = 3) -> tuple[list[float], list[float], int]:
    """Per step: the share of ``select``, the share that scikit-learn's would have, and the number of fits in all."""
    method = assemble(make_spec(changes))[2]
    watch, events = Stopwatch(), method.train()
    shares, rivals, fits = [], [], 0
    ta_dfkd.select = watch
    try:
        for _ in range(steps + warm_up):
            watch.spent, watch.seen = 0.0, []
            started = time.process_time()
            next(event for event in events if isinstance(event, Step))
            whole = time.process_time() - started
            if method.step > warm_up:
                rival = _scikit_learn(watch.seen)
                shares.append(watch.spent / whole)
                rivals.append(rival / (whole - watch.spent + rival))
                fits += len(watch.seen)
    finally:
        ta_dfkd.select = select
    return shares, rivals, fits


def _scikit_learn(batches: list[Tensor]) -> float:
    """CPU seconds that scikit-learn takes for the same verdicts."""
    from sklearn.mixture import GaussianMixture

    started = time.process_time()
    for losses in batches:
        scaled = ((losses - losses.min()) / (losses.max() - losses.min())).reshape(-1, 1).numpy()
        model = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(scaled)
        _ = model.predict_proba(scaled)[:, model.means_.argmin()] > 0.5
    return time.process_time() - started


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--steps", type=int, default=60, help="of demo; a third of it with B = 1024 (default 60)")

    asked = options("mixture", __doc__, add)
    steps = 3 if asked.quick else asked.steps
    settings = {"demo, B = 128": ({}, steps), "demo, B = 1024": ({"batch_size": 1024}, max(2, steps // 3))}
    rows, details = [], {}
    for name, (changes, count) in settings.items():
        shares, rivals, fits = measure(changes, count)
        ours, theirs = bootstrap(shares), bootstrap(rivals)
        say(f"{name}: {ours.percent()}")
        details[name] = {"shares": shares, "scikit_learn": rivals, "fits": fits}
        rows += [_row(name, ours), Row(f"… scikit-learn's on the same losses, {name}", theirs.percent())]
    report("mixture", asked.quick, rows, details)


def _row(name: str, share: Interval) -> Row:
    what = f"Fitting the mixture, share of a step's CPU time, {name}"
    return Row(what, share.percent(), f"≤ {TARGET:.0%}", share.median <= TARGET, share.median)


if __name__ == "__main__":
    main()
