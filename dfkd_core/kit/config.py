"""A method's knobs. Form, command-line flags, permalink and JSON on disk all come from these models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dfkd_core.errors import RequestError, explain


def knob(
    default: Any,
    help: str,
    *,
    group: str,
    symbol: str = "",
    unit: str = "",
    memory: bool = False,
    live: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a method's ``Config``.

    ``symbol`` is the paper's letter, ``group`` the heading it appears under, and ``memory`` marks the knobs
    to lower when memory runs out, ``live`` those that may change while a run goes on. ``bounds`` are pydantic's
    ``ge``, ``gt``, ``le``, ``lt``.
    """
    extra: dict[str, Any] = {"group": group, "symbol": symbol, "unit": unit, "memory": memory, "live": live}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class MethodConfig(BaseModel):
    """Base of every method's ``Config``; ``presets`` maps a name to the knobs that it changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def build(cls, preset: str = "", changes: dict[str, Any] | None = None) -> MethodConfig:
        """The configuration of ``preset`` (empty: the defaults) with ``changes`` on top.

        Raises ``RequestError`` for an unknown preset, an unknown knob or a value out of bounds.
        """
        if preset and preset not in cls.presets:
            raise RequestError("preset", preset, f"should be one of {', '.join(cls.presets)}.")
        try:
            return cls.model_validate({**cls.presets.get(preset, {}), **(changes or {})})
        except ValidationError as error:
            raise explain(error) from None

    def change(self, changes: dict[str, Any]) -> Self:
        """The configuration with other values of ``live`` knobs. Raises ``RequestError`` for anything else."""
        for name, value in changes.items():
            if name not in type(self).live_knobs():
                able = ", ".join(type(self).live_knobs())
                raise RequestError(name, value, f"cannot change while a run goes on; these can: {able}.")
        try:
            return type(self).model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise explain(error) from None

    @classmethod
    def live_knobs(cls) -> list[str]:
        """The knobs that may change while a run goes on."""
        return [name for name in cls.model_fields if cls.about(name)["live"]]

    @classmethod
    def memory_knobs(cls) -> list[str]:
        """The knobs to lower when memory runs out."""
        return [name for name in cls.model_fields if cls.about(name)["memory"]]

    @classmethod
    def about(cls, name: str) -> dict[str, Any]:
        """``group``, ``symbol``, ``unit``, ``memory`` and ``live`` of the knob ``name``."""
        extra = cls.model_fields[name].json_schema_extra
        assert isinstance(extra, dict)
        return dict(extra)


def planned_steps(config: Mapping[str, Any]) -> int:
    """How many steps a run with these knobs takes: epochs of iterations, or the sum of its stages."""
    if "distill_steps" in config:
        synthesis = 0 if config.get("source") == "ancestral" else int(config.get("synthesis_batches", 0))
        return int(config.get("gan_steps", 0)) + synthesis + int(config["distill_steps"])
    return int(config["epochs"]) * int(config["iterations"])
