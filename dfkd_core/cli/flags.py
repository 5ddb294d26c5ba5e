"""Flags: those that many commands share, and those that are made from pydantic models. Does not import torch."""

from __future__ import annotations

import inspect
import json
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, get_args, get_origin

from cyclopts import App, Group, Parameter

from dfkd_core.errors import RequestError, capitalised
from dfkd_core.networks.weights import WeightsError, open_file
from dfkd_core.store import RunFolder, find_run, runs_folder

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

RunId = Annotated[str, Parameter(help="A run's id, or the unique beginning or end of one.")]
Runs = Annotated[Path | None, Parameter(help="Folder of the runs (DFKD_RUNS).", show_default="runs")]
EngineName = Annotated[
    str,
    Parameter(
        name="--engine",
        help="Where it is carried out: inline (this process), local, local:N, ray, ray:HOST:PORT (DFKD_ENGINE).",
        show_default=lambda _: "inline; of a study with room for several runs local",
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON instead, one object a line.")]
TakeOver = Annotated[bool, Parameter(negative=(), help="Even if it goes on, on a machine that is gone for good.")]
Insist = Annotated[bool, Parameter(negative=(), help="Even if what it depends on has changed; it is written down.")]
Tokens = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]
TYPES: dict[Any, tuple[str, str]] = {int: ("INT", "a whole number "), float: ("FLOAT", "a number ")}
ENDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}  # of a range
MOST_CHOICES = 24  # letters of choices that stand beside a flag; more are told in its help


def group(name: str, help: str, **more: Any) -> App:
    """Commands below ``name``. What is wrong with their flags is raised, for ``main`` to say in one line."""
    app = App(
        name=name,
        help=help,
        help_format="plaintext",
        version_flags=(),
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=(), allow_repeating=True, show_default=_worth_showing),
        **more,
    )
    for help_flag in app.help_flags:
        app[help_flag].group = "Parameters"
    return app


def _worth_showing(default: Any) -> str | None:
    """Of a switch that is off, or of what is left to the command, nothing."""
    return None if default in (False, None, "") else str(default)


def runs_of(runs: Path | None) -> Path:
    """The folder that was asked for, or the usual one."""
    return runs or runs_folder()


def run_of(runs: Path | None, run_id: str) -> RunFolder:
    """The run that was asked for. Raises ``RequestError``."""
    return find_run(runs_of(runs), run_id)


def opened_file(path: Path) -> BinaryIO:
    """A file that was asked for, to be read. Raises ``RequestError``, also for a pipe, which may never end."""
    try:
        return open_file(path)
    except WeightsError as error:
        raise RequestError("file", str(path), f"{str(error).removeprefix(f'{path} ')}.") from None


def tell(line: str, as_json: bool, **facts: Any) -> None:
    """Print one of a list: a line, or its ``facts`` as JSON."""
    print(json.dumps(facts) if as_json else line)


# --- from models -----------------------------------------------------------------------------------------------


def dispatched(
    name: str, help: str, method: str, command: Callable[[str], Callable[..., int]], first: bool = False
) -> App:
    """A command whose flags depend on ``--method``: ``command(method)`` has them. ``method`` is the usual one; it may
    come ``first``, without the flag."""

    asked_method = ArgumentParser(add_help=False, allow_abbrev=False)
    asked_method.add_argument("--method", nargs="?")  # without a value, for the command itself to refuse

    def dispatch(*tokens: Tokens) -> int:
        if first and tokens and not tokens[0].startswith("-"):
            tokens = ("--method", *tokens)
        inner = group(f"dfkd_core {name}", help)
        inner.default(command(asked_method.parse_known_args(tokens)[0].method or method))
        return int(inner(tokens) or 0)

    outer = group(name.split()[-1], help, help_flags=())
    outer.default(dispatch)
    return outer


def with_flags(function: Callable[..., int], *flags: inspect.Parameter) -> Callable[..., int]:
    """A command with ``flags`` and the keyword-only parameters of ``function``, which gets what was given of both;
    the flags come as text in its ``**given``."""
    known = inspect.signature(function, eval_str=True).parameters.values()
    own = [parameter for parameter in known if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    parameters = sorted([*flags, *own], key=lambda parameter: parameter.kind)
    first = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.POSITIONAL_ONLY]

    def command(*arguments: Any, **given: Any) -> int:
        return function(**dict(zip(first, arguments, strict=False)), **given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    return command


def flag(
    name: str, field: FieldInfo, about: dict[str, Any] | None = None, heading: Group | None = None
) -> inspect.Parameter:
    """The flag of a model's field. Its text is checked by the model, so that bounds and sentences stand there.

    ``about``: the ``symbol`` and ``unit`` of the field, the ``choices`` where its type does not say them, and whether
    it is ``positional``.
    """
    about, required = about or {}, field.is_required()
    positional, choices = about.get("positional", False), about.get("choices", ())
    type_, in_words = TYPES.get(field.annotation, ("TEXT", ""))
    words = _choices(field, choices)
    short, symbol = 0 < len(words) <= MOST_CHOICES, about.get("symbol", "")
    help = [
        field.description,
        f"({symbol})" if short and symbol else "",
        f"One of {words.replace(',', ', ')}." if words and not short else "",
        _range(field, about.get("unit", ""), in_words if symbol else ""),
    ]
    parameter = Parameter(
        help=" ".join(filter(None, help)),
        metavar=f"{{{words}}}" if short else symbol or type_,
        show_default=False if required else _default(field.get_default(), choices),
        group=heading or ("Arguments" if positional else "Parameters"),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_ONLY if positional else inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[str if required else str | None, parameter],
    )


def _choices(field: FieldInfo, choices: Iterable[str]) -> str:
    if field.annotation is bool:
        return "true,false"
    literal = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return ",".join(map(str, choices or literal))


def _default(default: Any, choices: Collection[str]) -> str | bool:
    if isinstance(default, tuple):
        return "all" if list(default) == list(choices) else ",".join(map(str, default))
    words = "" if default is None else str(default)
    return words.lower() if isinstance(default, bool) else words or False


def _range(field: FieldInfo, unit: str, lead: str) -> str:
    """``From 0 to 1,000 images.``; empty where there is neither bound nor unit."""
    ends = [
        f"{word} {_number(getattr(bound, name))}"
        for name, word in ENDS.items()
        for bound in field.metadata
        if hasattr(bound, name)
    ]
    said = lead + " ".join([*ends, unit]).strip()
    return f"{capitalised(said)}." if said else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def training(method: str, without: Collection[str] = ()) -> Iterator[inspect.Parameter]:
    """The flags of a run by ``method``: those of every run, and its knobs, but ``without`` some. Imports torch."""
    from dfkd_core import methods
    from dfkd_core.networks.classifiers import CLASSIFIERS
    from dfkd_core.runs.spec import RunSpec

    found, of_the_run = methods.find(method), Group("Run", sort_key=1)
    networks = tuple(name for name, known in CLASSIFIERS.items() if known.student)
    networks = networks if found.requires.task == "classifier" else ("lvae-H", "conv-vae-H")
    choices = {"student": networks, "method": methods.available(), "preset": found.Config.presets}
    for name in ("method", *RunSpec.asked_fields()):
        if name not in without:
            yield flag(name, RunSpec.model_fields[name], {"choices": choices.get(name, ())}, of_the_run)
    for order, (heading, names) in enumerate(found.Config.groups().items(), 2):
        knobs = Group(f"Knobs of {method}: {heading}", sort_key=order)
        for name in names:
            if name not in without:
                yield flag(name, found.Config.model_fields[name], found.Config.about(name), knobs)


def asked(method: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The knobs and the fields of a run among the flags that were ``given``."""
    from dfkd_core import methods

    knobs = methods.find(method).Config.model_fields
    given = {name: value for name, value in given.items() if value is not None}
    return (
        {name: value for name, value in given.items() if name in knobs},
        {name: value for name, value in given.items() if name not in knobs},
    )
