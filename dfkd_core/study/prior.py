"""FID against the intensity of the class prior (Fig. 2 of TA-DFKD), and the images beside it (Fig. 3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import TypedDict

from dfkd_core.analysis.measured import FIGURES, MOST_SAMPLES, SAMPLES
from dfkd_core.errors import RequestError
from dfkd_core.quality import LEAST
from dfkd_core.quality.score import number
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.rows import FINITE, Count
from dfkd_core.study.contract import Kind, Labels, Measured, Rows, asked, several, usual
from dfkd_core.study.folder import CellState, Kept
from dfkd_core.study.tables import CONFIDENCE, aligned, plural, told_apart

if TYPE_CHECKING:
    import pandas as pd

KNOB = "class_prior_weight"
POINT = ("fid", "density", "coverage", "precision", "recall", "class_balance", "diversity", "real_diversity", "kept")
SCORES = ("final", "best", "teacher")
PERMUTATIONS, PERMUTING_SEED = 4_999, 0


class PriorRequest(Measured):
    intensities: Annotated[tuple[float, ...], *several(2, 51)] = asked(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "Intensities of the class prior, 0 to 10 each.", symbol="λ"
    )
    measured: int = asked(
        SAMPLES, "Images of each run's generator to measure.", title="Images measured", ge=LEAST, le=MOST_SAMPLES
    )


class Settings(TypedDict):
    __pydantic_config__ = FINITE  # type: ignore[misc]
    benchmark: str
    method: str
    teacher: str
    student: str
    preset: str
    intensities: list[float]
    seeds: list[Count]
    samples: Count
    extractor: str


class Place(TypedDict):
    __pydantic_config__ = FINITE  # type: ignore[misc]
    intensity: float
    seed: Count


class Prior(Kind[PriorRequest]):
    name = "prior"
    title = "FID against the intensity of the class prior (Fig. 2 of TA-DFKD)."
    varies = {**Kind.varies, KNOB: "intensities"}
    kept = Kept(Settings, Place, FIGURES)
    Request = PriorRequest

    def labelled(self, request: PriorRequest) -> list[tuple[Labels, RunSpec]]:
        """Seed by seed, so that a first whole curve is there early."""
        from dfkd_core import methods
        from dfkd_core.runs.request import make_spec

        method = usual("method", request.run)
        if KNOB not in methods.find(method).Config.model_fields:
            raise RequestError("method", method, "has no class prior to vary; take ta-dfkd.")
        return [
            (
                {"intensity": intensity, "seed": seed},
                make_spec({**request.knobs, KNOB: intensity}, seed=seed, **request.run),
            )
            for seed in sorted(request.seeds)
            for intensity in sorted(request.intensities)
        ]

    def samples(self, request: PriorRequest) -> int:
        return request.measured

    def settings(self, request: PriorRequest, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        first = labelled[0][1]
        return {
            **{name: getattr(first, name) for name in ("benchmark", "method", "teacher", "student", "preset")},
            "intensities": sorted(request.intensities),
        }

    def headline(self, request: PriorRequest, labelled: list[tuple[Labels, RunSpec]]) -> str:
        first, size = labelled[0][1], f"{len(request.intensities)} intensities × {plural(len(request.seeds), 'seed')}"
        return f"{first.teacher} → {first.student}, {size}"

    def key(self, request: PriorRequest, labels: Labels) -> str:
        return f"prior-{told_apart(labels['intensity'])}-seed-{labels['seed']}"

    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """One row for each run that was measured: its labels, run, figures, and how FID was measured."""
        return [
            {
                **state.cell.labels,
                **{name: state.record.figures[name] for name in (*POINT, *SCORES)},
                "real": state.record.figures["real"],
                "generated": state.record.figures["samples"],
                "extractor": state.record.figures["extractor"],
                "run": state.record.run,
            }
            for state in cells
            if state.state == "done"
        ]

    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """How FID follows the intensity, a trend only where it is clear; empty before there are three."""
        import pandas as pd

        table = pd.DataFrame(rows)
        if table.empty or table["intensity"].nunique() < 3:
            return ""
        means = table.groupby("intensity")["fid"].mean()
        lowest, best = means.index[0], means.idxmin()
        numbers = f"{len(table)} runs, {len(means)} intensities, {plural(table['seed'].nunique(), 'seed')}"
        correlation, p = rank_correlation(table["intensity"], table["fid"])
        if correlation is None:
            return f"FID is the same at every intensity ({numbers})."
        trend = f"{'rises' if correlation > 0 else 'falls'} with"
        said = trend if p <= 1 - CONFIDENCE else "has no clear monotone trend over"
        where = "which is the lowest" if best == lowest else f"lowest {means[best]:.3g} at λ = {told_apart(best)}"
        return (
            f"Here FID {said} the prior's intensity: Spearman correlation {correlation:+.2f}, p = {p:.2g} ({numbers}); "
            f"mean FID {means.iloc[0]:.3g} at λ = {told_apart(lowest)}, {where}."
        )

    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        found = [
            [told_apart(row["intensity"]), str(row["seed"]), number(row["fid"], ".3f"), number(row["final"], ".2%")]
            for row in self.table(settings, cells)
        ]
        return aligned([["λ", "seed", "FID", "student"], *found])


def rank_correlation(one: pd.Series, other: pd.Series) -> tuple[float | None, float]:
    """Spearman's correlation, that of the ranks, ties sharing theirs, and its two-sided p; (None, 1) where one side is
    constant.

    p is the share of permutations with a correlation as far from 0, among ``PERMUTATIONS`` drawn ones and the one that
    was found (Phipson and Smyth 2010). Runs are permuted whatever their seed: where each seed has every intensity, what
    seeds share makes p larger.
    """
    import numpy as np

    x, y = (ranks - ranks.mean() for ranks in (values.rank().to_numpy() for values in (one, other)))
    found, scale = float(x @ y), math.sqrt(float(x @ x) * float(y @ y))
    if not scale:
        return None, 1.0
    drawn = np.random.default_rng(PERMUTING_SEED).permuted(np.tile(x, (PERMUTATIONS, 1)), axis=1) @ y
    as_far = int((np.abs(drawn) >= abs(found) - 1e-9 * scale).sum())
    return found / scale, (as_far + 1) / (PERMUTATIONS + 1)
