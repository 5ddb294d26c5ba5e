"""The gradient audit of every method on digits, preset ``demo``: which term pulls at which network, at the start of
each stage and some steps later. ``python -m dfkd_core audit METHOD`` does the same for one, with any flags. What is
found goes into ``assets/gradients.json`` too, where the page *Methods* reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import torch
from cyclopts import Parameter

from benchmarks.command import Quick, Teacher, command
from benchmarks.report import ROOT, Report, Row, say
from dfkd_core import methods
from dfkd_core.runs import gradients
from dfkd_core.runs.request import make_spec

SHIPPED = ROOT / "assets" / "gradients.json"


def measure(
    *,
    steps: Annotated[int, Parameter(help="Steps that are looked at, at the start of each stage and later.")] = 3,
    later: Annotated[int, Parameter(help="Steps between.")] = 20,
    teacher: Teacher = "",
    quick: Quick = False,
) -> Iterator[Report]:
    torch.set_num_threads(1)
    rows, details = [], {}
    for name, method in methods.available().items():
        if teacher and method.requires.task != "classifier":
            continue
        spec = make_spec({}, method=name, teacher=teacher)
        found = gradients.audit(spec, *((1, 1) if quick else (steps, later)))
        details[name] = {"teacher": spec.teacher, "found": asdict(found)}
        alive = [pull for pull in found.pulls if pull.verdict != "off"]
        wrong = [f"{pull.term} {pull.verdict}" for pull in alive if pull.verdict != "alive"]
        shares = ", ".join(f"{pull.term} {_shares(pull)}" for pull in alive)
        say(f"{name}: {', '.join(wrong) or 'all alive'}")
        said = f"{shares}{'; ' + ', '.join(wrong) if wrong else ''}"
        rows.append(Row(f"{name}: shares of each network's gradient, start → later", said, "none dead or leaking",
                        not found.wrong))  # fmt: skip
    if not quick and not teacher:
        SHIPPED.write_text(json.dumps(_rounded(details), indent=1) + "\n")
    yield Report(rows, details, teacher)


def _rounded(value: Any) -> Any:
    """Four digits are enough, of every number in it."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _shares(pull: gradients.Pull) -> str:
    return " → ".join(f"{share:.0%}" for share in pull.share.values())


if __name__ == "__main__":
    command(measure)
