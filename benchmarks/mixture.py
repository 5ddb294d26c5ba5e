"""What the mixture takes of a TA-DFKD step, and what scikit-learn's would take on the same losses.

``selection.select`` (scaling, start, fit, posterior) is timed inside real training steps, as a share of their CPU
time, on digits with the preset ``demo`` and with B = 1024. The judged losses are kept, and afterwards scikit-learn's
``GaussianMixture`` with the settings of the released code is fitted to the same ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Annotated
from unittest.mock import patch

from cyclopts import Parameter
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.command import Quick, command
from benchmarks.report import Report, Row
from benchmarks.timing import Stopwatch, bootstrap
from dfkd_core.events import Step
from dfkd_core.methods import ta_dfkd
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.request import make_spec
from dfkd_core.selection.mixture import Selection, select

TARGET, WARM_UP = 0.02, 3


def shares(changes: dict[str, int], steps: int) -> Iterator[tuple[float, float]]:
    """Of each step: the share of ``select``, and the share that scikit-learn's would have."""
    events = assemble(make_spec(changes))[2].train()
    for step in range(steps + WARM_UP):
        fitting, whole, rival, seen = Stopwatch(), Stopwatch(), Stopwatch(), list[Tensor]()

        def watched(losses: Tensor, threshold: float, own: Stopwatch = fitting, seen: list[Tensor] = seen) -> Selection:
            seen.append(losses)
            with own:
                return select(losses, threshold)

        with patch.object(ta_dfkd, "select", watched), whole:
            next(event for event in events if isinstance(event, Step))
        with rival, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for losses in seen if step >= WARM_UP else []:
                scikit_learn(losses)
        if step >= WARM_UP:
            yield fitting.cpu / whole.cpu, rival.cpu / (whole.cpu - fitting.cpu + rival.cpu)


def scikit_learn(losses: Tensor) -> None:
    """The same verdict."""
    scaled = ((losses - losses.min()) / (losses.max() - losses.min())).reshape(-1, 1).numpy()
    model = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4).fit(scaled)
    _ = model.predict_proba(scaled)[:, model.means_.argmin()] > 0.5


def measure(
    *, steps: Annotated[int, Parameter(help="Of demo; a third of it with B = 1024.")] = 60, quick: Quick = False
) -> Iterator[Report]:
    steps = 3 if quick else steps
    rows, details = [], {}
    for batch, count in ((128, steps), (1024, max(2, steps // 3))):
        name = f"demo, B = {batch}"
        ours, theirs = zip(*shares({"batch_size": batch}, count), strict=True)
        details[name] = {"shares": ours, "scikit_learn": theirs}
        rows.append(bootstrap(ours).share_row(f"Fitting the mixture, share of a step's CPU time, {name}", TARGET))
        rows.append(Row(f"… scikit-learn's on the same losses, {name}", bootstrap(theirs).percent()))
    yield Report(rows, details)


if __name__ == "__main__":
    command(measure)
