"""What a study has to say about itself. Does not import torch.

A study is one file beside this one with a subclass of ``Kind``: ``study.available()`` finds it, and command line and
pages take everything from it: the flags and inputs from its ``Request``, the runs, the table, and what it says.
"""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dfkd_core.analysis.measured import both_or_neither
from dfkd_core.errors import RequestError, explain
from dfkd_core.quality.score import score_text
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.folder import Result
from dfkd_core.study.folder import OVER, Cell, CellState, Kept, Progress, Record, Study
from dfkd_core.study.reuse import finished
from dfkd_core.study.tables import unfinished

Labels = dict[str, Any]
Rows = list[dict[str, Any]]
SEEDS = (0, 1, 2)
SCORES = Annotated[Result, AfterValidator(both_or_neither)]
"""The figures of a run of which no images are measured."""


def asked(
    default: Any,
    help: str,
    *,
    title: str = "",
    symbol: str = "",
    choices: dict[str, str] | None = None,
    positional: bool = False,
    only_in_files: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a ``Request``: what a flag and a page's input are made from.

    ``title`` is the input's label, ``symbol`` the paper's letter, ``choices`` the titles of what to choose among;
    ``positional``: it stands on the command line without a flag; ``only_in_files``: nor has it an input on a page.
    ``bounds`` are pydantic's ``ge`` and ``le``.
    """
    extra: dict[str, Any] = {"symbol": symbol, "choices": choices or {}, "positional": positional}
    extra |= {"only_in_files": only_in_files}
    return Field(default, title=title or None, description=help, json_schema_extra=extra, **bounds)


def several(least: int, most: int) -> tuple[BeforeValidator, AfterValidator]:
    """Of a tuple: ``least`` to ``most`` values, each once; as text with commas between."""

    def split(given: Any) -> Any:
        return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given

    def check(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None and (wrong := miscounted(values, least, most)):
            raise ValueError(wrong)
        return values

    return BeforeValidator(split), AfterValidator(check)


def miscounted(values: Sequence[Any], least: int, most: int) -> str:
    """What is wrong with how many there are; empty: nothing."""
    right = least <= len(values) <= most and len(set(values)) == len(values)
    return "" if right else f"should be {least} to {most}, each once"


def among(names: Callable[[], list[str]]) -> AfterValidator:
    """Of a text, or a tuple of them: each is one of ``names()``."""

    def check(value: Any) -> Any:
        for name in (value,) if isinstance(value, str) else value or ():
            if name not in names():
                which = "" if isinstance(value, str) else f"{name!r} "  # of several, which are not quoted
                raise ValueError(f"{which}should be one of {', '.join(names())}")
        return value

    return AfterValidator(check)


class Request(BaseModel):
    """What a study is asked for. Subclasses add what it varies."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str = Field("", max_length=200, description="What to call the study; empty: what tells it from others.")
    knobs: dict[str, Any] = Field(default_factory=dict, description="Of the method, on top of the preset.")
    run: dict[str, Any] = Field(default_factory=dict, description="Other fields of every run, as RunSpec has them.")

    @classmethod
    def own(cls) -> list[str]:
        """The fields with a flag and an input that it has beside those of every study."""
        own = [name for name in cls.model_fields if name not in Request.model_fields]
        return [name for name in own if not cls.about(name)["only_in_files"]]

    @classmethod
    def about(cls, name: str) -> dict[str, Any]:
        """``symbol``, ``choices`` and ``positional`` of the field ``name``."""
        extra = cls.model_fields[name].json_schema_extra
        assert isinstance(extra, dict)
        return dict(extra)

    @classmethod
    def build(cls, given: dict[str, Any]) -> Self:
        """A checked request. Raises ``RequestError`` with the first thing that is wrong."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise explain(error) from None


class Seeded(Request):
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], *several(1, 20)] = asked(
        SEEDS, "Seeds, one run of each for every setting."
    )


class Measured(Seeded):
    extractor: str = asked("", "Features that images are compared in: inception, teacher:NAME; empty: the usual.")


@dataclass(frozen=True)
class Refused:
    """A setting, by its ``labels``, that cannot be run: ``why``, in a sentence."""

    labels: Labels
    why: str


@dataclass(frozen=True)
class Composed:
    """What a study is made of: labels and specification of each run, and the settings that cannot be run."""

    labelled: list[tuple[Labels, RunSpec]]
    refused: list[Refused] = field(default_factory=list)


R = TypeVar("R", bound=Request)


class Kind(ABC, Generic[R]):
    """A question that takes many runs.

    ``name`` stands in study.json and on the command line, ``title`` says what it is. ``method``: whose knobs its flags
    are unless another one may be asked for. ``varies``: fields and knobs of a run that every study of this kind sets
    itself, and the field of the request to give instead. ``kept`` says of which types its settings, labels and figures
    are: a study may come from a stranger.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    method: ClassVar[str] = "ta-dfkd"
    varies: ClassVar[dict[str, str]] = {"seed": "seeds"}
    kept: ClassVar[Kept] = Kept()
    Request: type[R]

    # --- which runs ---

    @abstractmethod
    def labelled(self, request: R) -> list[tuple[Labels, RunSpec]]:
        """Labels and specification of each run, in the order in which they are carried out. Raises ``RequestError``."""

    def varied(self, asked: Mapping[str, Any]) -> dict[str, str]:
        """``varies``, and what a study with these fields of a request sets itself beside it."""
        return dict(self.varies)

    def samples(self, request: R) -> int:
        """How many images of each run are measured; 0: none."""
        return 0

    @abstractmethod
    def settings(self, request: R, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        """What the study's folder keeps beside ``seeds``, ``samples`` and the ``extractor`` of their features."""

    @abstractmethod
    def headline(self, request: R, labelled: list[tuple[Labels, RunSpec]]) -> str:
        """What tells this study from others of its kind."""

    def key(self, request: R, labels: Labels) -> str:
        """A file name for a cell."""
        x = re.sub(r"[^a-z0-9.]+", "-", str(labels["x"]).lower())
        return f"{labels['series']}-{x}-seed-{labels['seed']}"

    def composed(self, request: R) -> Composed:
        """All runs, after what the study varies itself was found not to be asked for. Raises ``RequestError``."""
        varied = self.varied(dict(request))
        for name, value in {**request.run, **request.knobs}.items():
            if name in varied:
                raise RequestError(name, value, f"is what the study varies; give its {varied[name]}.")
        return self.compose(request)

    def compose(self, request: R) -> Composed:
        """The runs, and what cannot be run. Raises ``RequestError``."""
        return Composed(self.labelled(request))

    def specs(self, request: R) -> list[tuple[Labels, RunSpec]]:
        """Labels and specification of each run. Raises ``RequestError``."""
        return self.composed(request).labelled

    def begin(self, runs: Path, reuse: str = "none", **given: Any) -> Study:
        """A new study below ``runs``, of what ``Request`` makes of ``given``; nothing is started. ``reuse``: of which
        runs that are done there already the results are taken over (see ``reuse.finished``).

        Raises ``RequestError`` with the first thing that is wrong; then nothing is written.
        """
        request = self.Request.build(given)
        composed = self.composed(request)
        labelled = composed.labelled
        samples, settings = self.samples(request), self.settings(request, labelled)
        settings |= {"seeds": sorted(request.seeds)} if isinstance(request, Seeded) else {}
        settings |= {"samples": samples}
        if isinstance(request, Measured):
            settings |= {"extractor": _measuring(labelled[0][1], request.extractor) if samples else ""}
        if composed.refused:
            settings |= {"refused": [asdict(one) for one in composed.refused]}
        cells = [Cell(self.key(request, labels), labels, spec) for labels, spec in labelled]
        marked = next((spec.mark for _, spec in labelled if spec.mark), "")
        title = (request.title or self.headline(request, labelled)) + marked
        there = finished(runs, [spec for _, spec in labelled], reuse)
        asked = request.model_dump(mode="json", exclude_defaults=True)
        study = Study.create(runs, self.name, title, settings, cells, asked)
        for cell, run in zip(cells, there, strict=True):
            if run:
                study.keep(cell, Record(run=run))
        return study

    # --- what they say ---

    @abstractmethod
    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """What was found so far."""

    @abstractmethod
    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """What the table says, in one sentence; empty where it says nothing."""

    def verdict(self, settings: dict[str, Any], cells: list[CellState], rows: Rows | None = None) -> str:
        """The reading of ``rows`` (usually its table) when all runs have ended, since those that are outstanding may
        turn it around; until then how many are there."""
        over = sum(state.state in OVER for state in cells)
        if over < len(cells):
            return unfinished(over, len(cells))
        return self.reading(settings, self.table(settings, cells) if rows is None else rows)

    @abstractmethod
    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        """The table for a terminal."""

    def lines_of(self, study: Study, progress: Progress) -> list[str]:
        """The same of a study, whose runs may have more to tell than their figures."""
        return self.lines(study.settings, progress.cells)

    def ended(self, cell: Cell, record: Record) -> str:
        """How a cell ended, in one line."""
        labels = ", ".join(f"{name} {value}" for name, value in cell.labels.items())
        return f"{labels}: failed. {record.problem}" if record.problem else f"{labels}: {self.outcome(record.figures)}"

    def outcome(self, figures: dict[str, Any]) -> str:
        """What a run that is done came to, in a few words."""
        fid = f", FID {figures['fid']:.3f}" if "fid" in figures else ""
        return f"{figures['measure']} final {score_text(figures['measure'], figures['final'])}{fid}"


def declared(module: str) -> dict[str, Any]:
    """What the TOML file beside the file of a study says; ``module`` is the ``__file__`` of that one."""
    return tomllib.loads(Path(module).with_suffix(".toml").read_text("utf-8"))


def own_knobs(names: Iterable[str], knobs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of ``knobs`` that each of the methods ``names`` has. Raises ``RequestError`` for one that none has."""
    from dfkd_core import methods

    known = {name: methods.find(name).Config.model_fields for name in names}
    for knob, value in knobs.items():
        if not any(knob in fields for fields in known.values()):
            raise RequestError(knob, value, f"is no knob of {' or '.join(known)}.")
    return {name: {knob: knobs[knob] for knob in knobs if knob in fields} for name, fields in known.items()}


def usual(field: str, run: dict[str, Any]) -> Any:
    """A field of a run that may have been asked for."""
    return run.get(field, RunSpec.model_fields[field].default)


def _measuring(spec: RunSpec, extractor: str) -> str:
    """The extractor's full name. Raises ``RequestError`` if what ``spec`` trains cannot be measured."""
    from dfkd_core.data.catalogue import data_in, find_benchmark
    from dfkd_core.quality.measures import find_extractor
    from dfkd_core.teachers.cards import find_card

    card, _ = find_card(spec.teacher)
    with data_in(spec.data):
        benchmark = find_benchmark(spec.benchmark, card.image.spec())
        if not benchmark.is_there():
            benchmark.load(train=False)  # says what is missing, and where it was looked for
    return find_extractor(extractor, card).name
