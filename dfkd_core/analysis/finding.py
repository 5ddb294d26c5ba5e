"""Finding runs among many: words and comparisons, an order, what differs, which are seeds of one configuration."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dfkd_core.analysis.index import Entry
from dfkd_core.errors import RequestError

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
ASKED = re.compile(r'(-?)([A-Za-z_]\w*)(<=|>=|!=|<|>|=)("[^"]*"|\S*)|(-?)("[^"]*"|\S+)')
WORDS = ("run", "name", "group", "tags", "note", "state", "method", "preset", "teacher", "student", "benchmark",
         "collected", "device")  # fmt: skip
"""What a word without a name before it is sought in."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?(%?)", re.IGNORECASE)
NOT_A_CONFIGURATION = frozenset({"seed", "data", "device", "threads", "log_every", "samples_every", "samples",
    "features", "probes_every", "probes", "real", "health_every", "phases_every", "evaluate_every",
    "checkpoint_seconds"})  # fmt: skip
"""Fields in which runs of one configuration may differ: the seed, where they ran, and what was recorded."""


def names_of(entries: Iterable[Entry]) -> list[str]:
    """All that these runs can be sought, sorted and shown by, in the order in which they have it."""
    kinds = {id(entry.names): entry.names for entry in entries}
    return list(dict.fromkeys(name for names in kinds.values() for name in names))


def matching(entries: Sequence[Entry], asked: str) -> list[Entry]:
    """The runs that ``asked`` describes: words that stand somewhere in what is said of them, and comparisons of any
    field, knob or result, ``method=dafl seed<3 best>90% -tags=old "long note"``; a minus is for what should not be so.

    A run without such a field does not match a comparison. Raises ``RequestError`` for a field that no run has, and
    for a comparison with nothing.
    """
    tests = [_test(found) for found in ASKED.finditer(asked)]
    known = set(names_of(entries)) if tests else set()
    for name, *_ in filter(None, (test[0] for test in tests)):
        if known and name not in known:
            raise RequestError("search", name, f"no run has that; {_near(name, known)}.")
    return [entry for entry in entries if all(holds(entry.values) for _, holds in tests)]


Asked = tuple[tuple[str, ...], Callable[[dict[str, Any]], bool]]


def _test(found: re.Match[str]) -> Asked:
    minus, name, how, value, word_minus, word = found.groups()
    if name:
        return (name,), _comparison(name, how, value.strip('"'), minus == "-")
    sought, without = word.strip('"').lower(), word_minus == "-"
    return (), lambda values: any(sought in str(values.get(key) or "").lower() for key in WORDS) is not without


def _comparison(name: str, how: str, value: str, without: bool) -> Callable[[dict[str, Any]], bool]:
    number = _number(value)
    if not value and how not in ("=", "!="):
        raise RequestError("search", f"{name}{how}", "should be followed by a value.")

    def holds(values: dict[str, Any]) -> bool:
        own = values.get(name)
        if isinstance(own, bool):
            own = str(own).lower()
        if isinstance(own, int | float) and number is not None:
            return COMPARE[how](number if math.isclose(own, number, rel_tol=1e-9) else own, number)
        if name == "tags" and how in ("=", "!="):
            return COMPARE[how](value.lower() in [tag.strip() for tag in str(own).lower().split(",")], True)
        if own is None:
            return how == "!=" or (how == "=" and not value)
        return how in ("=", "!=") and COMPARE[how](str(own).lower(), value.lower())

    return lambda values: holds(values) is not without


def _number(text: str) -> float | None:
    """``0.9`` of ``90%``; None of what is no number."""
    found = NUMBER.fullmatch(text)
    return None if found is None else float(text.rstrip("%")) / (100 if found[3] else 1)


def _near(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 3, 0.5)
    return f"did you mean {' or '.join(near)}" if near else "method, seed, best and every knob can be asked for"


def in_order(entries: Sequence[Entry], by: str, descending: bool = False) -> list[Entry]:
    """Sorted by any field, knob or result; runs without it come last. Raises ``RequestError`` where none has it."""
    if not any(by in entry.values for entry in entries):
        if not entries:
            return []
        raise RequestError("sort", by, f"no run has that; {_near(by, names_of(entries))}.")
    have = [entry for entry in entries if entry.values.get(by) not in (None, "")]
    rest = [entry for entry in entries if entry.values.get(by) in (None, "")]
    return sorted(have, key=lambda entry: _key(entry.values[by]), reverse=descending) + rest


def _key(value: Any) -> tuple[bool, float, str]:
    """Numbers before words."""
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, str(value).lower()


def differences(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """Fields of the specification and knobs in which these runs differ, by name, with the value of each; None where a
    run has none. What says the same of all is left out, and so is where data lie."""
    specs = [{**entry.fields.get("config", {}), **_fields(entry)} for entry in entries]
    names = dict.fromkeys(name for spec in specs for name in spec)
    table = {name: [spec.get(name) for spec in specs] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry.fields.items() if name not in ("config", "stages", "data")}


def configurations(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The runs by what they are but for the seed, in the order in which each configuration comes first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        spec = {name: value for name, value in entry.fields.items() if name not in NOT_A_CONFIGURATION}
        found.setdefault(repr(sorted(spec.items(), key=lambda item: item[0])) if spec else entry.id, []).append(entry)
    return list(found.values())
