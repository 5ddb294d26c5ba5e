"""``audit``: which term of a method pulls at which network."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter
from tqdm import tqdm

from dfkd_core.cli.flags import Json, asked, dispatched, training, with_flags
from dfkd_core.study.tables import aligned

METHOD = "ta-dfkd"
Steps = Annotated[int, Parameter(help="Steps that are looked at, at the start of each stage and later.")]
Later = Annotated[int, Parameter(help="Steps between.")]


def _command(method: str) -> Any:
    def begin(*, steps: Steps = 3, later: Later = 50, as_json: Json = False, **given: Any) -> int:
        from dfkd_core.errors import RequestError
        from dfkd_core.runs import gradients
        from dfkd_core.runs.request import make_spec

        for name, value in (("steps", steps), ("later", later)):
            if value < 1:
                raise RequestError(name, value, "should be 1 or more.")
        changes, fields = asked(method, given)
        spec = make_spec(changes, **{"method": method, **fields})
        with tqdm(unit="step", disable=as_json, dynamic_ncols=True, leave=False, file=sys.stderr) as bar:

            def show(done: int, of: int) -> None:
                bar.total, bar.n = of, done
                bar.refresh()

            found = gradients.audit(spec, steps, later, show)
        if as_json:
            print(json.dumps(asdict(found)))
        else:
            print("\n".join(aligned(gradients.table(found))))
            for said in found.warnings:
                print(f"warning: {said}", file=sys.stderr)
        return 1 if found.wrong else 0

    return with_flags(begin, *training(method))


audit = dispatched(
    "audit", "Look at the gradient of each term of a method at each network.", METHOD, _command, first=True
)
