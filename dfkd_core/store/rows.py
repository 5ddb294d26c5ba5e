"""What a row of the log holds: the fields of its event, of the types that they have there."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from dfkd_core.events import (
    Applied,
    ClassShares,
    Epoch,
    Evaluated,
    Phases,
    Probes,
    Quality,
    Samples,
    StageEntered,
    Status,
    Step,
)

FINITE = ConfigDict(allow_inf_nan=False)
Count = Annotated[int, Field(ge=0, lt=2**53)]  # what numbers of JavaScript hold
Knobs = dict[str, bool | int | float | str]
Whole = Annotated[int, Field(gt=-(2**53), lt=2**53)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | Whole | Real | str | None
"""One value, as a table shows it."""


Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Mixture(TypedDict):
    """Two components fitted to the judged losses (see ``selection.mixture.Selection.summary``)."""

    __pydantic_config__ = FINITE  # type: ignore[misc]
    weights: Pair
    means: Pair
    deviations: Pair
    low: float
    high: float
    usable: bool
    by_class: bool
    applied: bool
    threshold: float
    region: list[Pair]


_SHEET: dict[str, Any] = {"count": Count, "mixture": Mixture | None, "file": str}
_STORED: dict[Any, dict[str, Any]] = {
    Samples: _SHEET,
    Probes: _SHEET,
    Phases: {"values": dict[str, dict[str, float]], "file": str},
}
"""Of events with arrays, which lie in files of their own."""


def _model(event: type[Any]) -> Any:
    name = event.__name__.lower()
    fields: dict[str, Any] = {**(_STORED.get(event) or get_type_hints(event))}
    fields |= {"seq": Count, "elapsed": float, "type": Literal[name], "step": Count}
    if event is Applied:
        fields["knobs"] = Knobs
    return with_config(FINITE)(TypedDict(name, fields))  # type: ignore[operator]


_EVENTS = (Step, Phases, Samples, Probes, Epoch, StageEntered, ClassShares, Evaluated, Quality, Applied, Status)
_ANY: Any = Annotated[Union[tuple(map(_model, _EVENTS))], Field(discriminator="type")]  # noqa: UP007
ROW: TypeAdapter[dict[str, Any]] = TypeAdapter(_ANY)
