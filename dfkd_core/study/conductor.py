"""Carries out a study: its runs one at a time through an engine, each measured when it is done.

All it knows is in the study's folder, so it may die at any time and another one goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dfkd_core.analysis.jobs import ENDED, Job
from dfkd_core.analysis.measured import read_figures
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import EventReader, Lease, RunFolder, RunStatus
from dfkd_core.study.folder import Cell, Record, Study

if TYPE_CHECKING:
    from dfkd_core.engine import Engine

TICK_SECONDS = 0.2
CHANGED = "A knob was changed while it trained, so it is no longer what its label says."
OTHER_DATA = "The test images, or the extractor, are not those that the other runs were measured with."


class Conductor:
    """``as_jobs``: measure in processes of their own, as a page must; else in this thread.

    ``after`` is called with each cell that has ended and its record.
    """

    def __init__(
        self, study: Study, engine: Engine, as_jobs: bool = False, after: Callable[[Cell, Record], None] | None = None
    ) -> None:
        self.study, self.engine, self.as_jobs = study, engine, as_jobs
        self.after = after or (lambda cell, record: None)
        self._why = ""  # it stopped

    def start(self) -> None:
        """On a thread of its own. Raises ``HeldError`` if the study is being carried out already."""
        name = f"dfkd-study-{self.study.id}"
        threading.Thread(target=self._conduct, args=[self.study.claim()], name=name, daemon=True).start()

    def conduct(self, take_over: bool = False) -> None:
        """In this thread, until the study is done or stopped. Raises ``HeldError`` like ``start``; ``take_over``:
        unless nothing can be seen of who does."""
        self._conduct(self.study.claim(take_over))

    def _conduct(self, lease: Lease) -> None:
        self._why = "It was ended from outside."
        try:
            for cell in self.study.cells:
                lease.check()
                if not self.study.record(cell).figures:
                    self._carry_out(cell)
                if self.study.shall_stop():
                    break
            self._why = ""
        except OSError as error:
            self._why = f"It could not go on: {error.strerror or error}."
        except StoreError as error:
            self._why = f"It could not go on: {error}."
        finally:
            self.study.release(lease, self._why)

    # --- one cell ---

    def _carry_out(self, cell: Cell) -> None:
        """What was tried before, and failed or was stopped, goes on from its checkpoint."""
        known = self.study.record(cell)
        record = Record() if known.problem == CHANGED else replace(known, problem="")
        if not record.run or not self.study.run(record).files.exists("spec.json"):
            record = Record(run=RunFolder.create(self.study.runs, cell.spec.model_dump()).id)
        self.study.keep(cell, record)  # before it starts: whoever comes after knows which run it is
        folder = self.study.run(record)
        try:
            status = self._train(folder)
            figures = self._figures(folder, status) if status.state == "done" else None
        except (RequestError, StoreError) as error:
            problem = str(error)
            record = replace(record, problem=problem[:1].upper() + problem[1:])
        else:
            if figures is not None:
                record = replace(record, figures=figures)
            elif status.state in ("failed", "interrupted"):
                record = replace(record, problem=status.message or status.state)
            else:  # somebody stopped the run, and so the study
                self.study.ask_to_stop()
                return
        self.study.keep(cell, record)
        self.after(cell, record)

    def _train(self, folder: RunFolder) -> RunStatus:
        """Until the run has ended. One that is alive was left by a conductor that died: it is only waited for."""
        status = folder.status_seen()
        if not status.is_live and status.state != "done":
            self.engine.resume(folder.id)  # also begins a run that has not begun
        told = False
        while (status := folder.status_seen()).is_live:
            if self.study.shall_stop() and not told:
                self.engine.stop(folder.id)
                told = True
            time.sleep(TICK_SECONDS)
        return status

    def _figures(self, folder: RunFolder, status: RunStatus) -> dict[str, Any] | None:
        """What is kept of a run that is done; None if it was stopped meanwhile."""
        if any(row["type"] == "applied" and row["command"] == "set" for row in EventReader(folder).read()):
            raise StoreError(CHANGED)
        settings = self.study.settings
        if not settings.get("samples"):
            return dict(status.result)
        ask = self._measured_by_job if self.as_jobs else self._measured_here
        figures = ask(folder, int(settings["samples"]), str(settings["extractor"]))
        if figures is not None:
            self._check_reference(figures)
            figures["seconds"] = round(figures["seconds"] + status.result["seconds"], 2)
        return figures

    def _check_reference(self, figures: dict[str, Any]) -> None:
        """Figures against other real images have no place beside the rest."""
        others = [self.study.record(cell).figures for cell in self.study.cells]
        if any(other and other["reference"] != figures["reference"] for other in others):
            raise StoreError(OTHER_DATA)

    def _measured_here(self, folder: RunFolder, samples: int, extractor: str) -> dict[str, Any]:
        from dfkd_core.analysis.measure_latent import measure_run  # imports torch
        from dfkd_core.runs.loop import CACHE

        return dict(measure_run(folder, self.study.runs / CACHE, samples, extractor))

    def _measured_by_job(self, folder: RunFolder, samples: int, extractor: str) -> dict[str, Any] | None:
        job = Job(folder, "measure")
        asked = ["measure", folder.id, "--runs", str(self.study.runs.resolve())]
        job.start([*asked, "--samples", str(samples), "--extractor", extractor])
        while (state := job.state()).state not in ENDED:
            if self.study.shall_stop():
                job.stop()
            time.sleep(TICK_SECONDS)
        if state.state == "failed":
            raise StoreError(state.message)
        if state.state == "stopped":
            return None
        return read_figures(folder)
