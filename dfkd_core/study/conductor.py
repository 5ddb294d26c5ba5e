"""Carries out a study: its runs through an engine, some at a time, each measured when it is done.

All it knows is in the study's folder, so it may die at any time and another one goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfkd_core.analysis.jobs import ENDED, Job
from dfkd_core.analysis.measured import read_figures
from dfkd_core.errors import RequestError, StoreError, capitalised
from dfkd_core.store import EventReader, Lease, RunFolder, RunStatus, new_id
from dfkd_core.study.folder import Cell, Record, Study, left_in
from dfkd_core.study.traces import trace_of

if TYPE_CHECKING:
    from dfkd_core.engine import Engine

TICK_SECONDS = 0.2
RESTARTS = 3  # of a run whose process was killed, without a checkpoint in between
MEASURINGS = 10  # of a run, where others measure it in between
LANES = 16  # that look at their runs so often; of more each looks less often
CHANGED = "A knob was changed while it trained, so it is no longer what its label says."
AGAIN = "Taken up again on %d %B at %H:%M: what carried it out had ended, and nobody had stopped it."
OTHER_DATA = "The test images, or the extractor, are not those that the other runs were measured with."
OTHERWISE = "It was measured by others, again and again. Continue the study when they have done."


class _Abandoned(Exception):
    """The study cannot go on; runs that train are left to whoever comes after."""


class Conductor:
    """``slots`` runs at a time on each device; as many as the engine has room for unless told otherwise.
    ``as_jobs``: measure in processes of their own, as a page must; else in this thread.

    ``only``: the key of the one cell that is carried out; empty: all.
    ``after`` is called with each cell that has ended and its record.
    """

    def __init__(
        self,
        study: Study,
        engine: Engine,
        as_jobs: bool = False,
        after: Callable[[Cell, Record], None] | None = None,
        slots: int | None = None,
        only: str = "",
    ) -> None:
        self.study, self.engine, self.as_jobs, self.only = study, engine, as_jobs, only
        self.slots = slots or engine.room([cell.spec for cell in study.cells])
        self.after = after or (lambda cell, record: None)
        self._why = ""  # it stopped
        self._problem: BaseException | None = None
        self._lock = threading.Lock()
        self._broken = threading.Event()

    def start(self, said: str = "") -> None:
        """On a thread of its own. Raises ``HeldError`` if the study is being carried out already. ``said``: to who
        watches it."""
        lease, name = self.study.claim(said=said), f"dfkd-study-{self.study.id}"
        threading.Thread(target=self._conduct, args=[lease], name=name, daemon=True).start()

    def conduct(self, take_over: bool = False) -> None:
        """In this thread, until the study is done or stopped. Raises ``HeldError`` like ``start``; ``take_over``:
        unless nothing can be seen of who does."""
        self._conduct(self.study.claim(take_over))

    def _conduct(self, lease: Lease) -> None:
        self._why = "It was ended from outside."
        try:
            self._carry_all_out(lease)
            self._why = ""
        except OSError as error:
            self._why = f"It could not go on: {error.strerror or error}."
        except StoreError as error:
            self._why = f"It could not go on: {error}."
        finally:
            self.study.release(lease, self._why)

    # --- all cells ---

    def _carry_all_out(self, lease: Lease) -> None:
        """In lanes, each of which takes the next cell of its device when it has done one. Runs in this thread hear
        Ctrl-C; else lanes are threads, which end with the process, and a run of a worker's outlives it."""
        self.engine.make_room(self.slots)
        lanes = self._lanes()
        if self.engine.in_this_thread:
            for cells in lanes:
                self._lane(lease, cells)
        else:
            threads = [threading.Thread(target=self._lane, args=(lease, cells), daemon=True) for cells in lanes]
            for thread in threads:
                thread.start()
            self._join(threads)
        if self._problem is not None:
            raise self._problem

    def _join(self, threads: list[threading.Thread]) -> None:
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:  # which workers have not heard
            self.study.ask_to_stop()
            self._join(threads)
            raise

    def _lanes(self) -> list[Iterator[Cell]]:
        """What each takes its cells from: one iterator for all lanes of a device. Cells that are done take none, and
        those whose runs are done come first: they are only looked at."""
        left: dict[str, list[Cell]] = {}
        for cell in self.study.cells:
            if self.only in ("", cell.key) and not (record := self.study.record(cell)).figures:
                cells = left.setdefault(cell.spec.device, [])
                cells.insert(0 if record.run and self._is_done(record) else len(cells), cell)
        taken = {device: iter(cells) for device, cells in left.items()}
        return [taken[device] for device, cells in left.items() for _ in range(min(self.slots, len(cells)))]

    def _is_done(self, record: Record) -> bool:
        return self.study.run(record).status().state == "done"

    def _lane(self, lease: Lease, cells: Iterator[Cell]) -> None:
        try:
            while (cell := self._next(cells)) is not None:
                lease.check()
                self._carry_out(cell)
        except _Abandoned:
            pass
        except BaseException as error:  # raised where the lanes are waited for
            self._problem = self._problem or error
            self._broken.set()

    def _next(self, cells: Iterator[Cell]) -> Cell | None:
        with self._lock:
            return None if self._broken.is_set() or self.study.shall_stop() else next(cells, None)

    # --- one cell ---

    def _carry_out(self, cell: Cell) -> None:
        """What was tried before, and failed or was stopped, goes on from its checkpoint."""
        known = self.study.record(cell)
        record = Record() if known.problem == CHANGED else replace(known, problem="")
        new = not record.run or not self.study.run(record).files.exists("spec.json")
        record = Record(run=new_id()) if new else record
        self.study.keep(cell, record)  # before it is there: whoever comes after knows which run it is
        folder = self.study.run(record)
        if new:
            RunFolder.create(self.study.runs, cell.spec.model_dump(), folder.id)
        try:
            status = self._train(folder)
            figures = self._figures(folder, status) if status.state == "done" else None
        except (RequestError, StoreError) as error:
            problem = str(error)
            record = replace(record, problem=capitalised(problem))
        else:
            if figures is not None:
                record = replace(record, figures=figures)
            elif status.state == "failed" or (status.state == "interrupted" and not self.study.shall_stop()):
                record = replace(record, problem=status.message or status.state)
            else:  # somebody stopped the run, and so the study
                self.study.ask_to_stop()
                return
        self.study.keep(cell, record)
        with self._lock:
            self.after(cell, record)

    def _train(self, folder: RunFolder) -> RunStatus:
        """Until the run has ended. One whose process is killed goes on from its checkpoint."""
        restarts, reached = 0, -1
        while True:
            status = self._until_ended(folder)
            if status.state != "interrupted" or self.study.shall_stop():
                return status
            restarts, reached = (0 if status.step > reached else restarts + 1), status.step
            if restarts == RESTARTS:
                return status

    def _until_ended(self, folder: RunFolder) -> RunStatus:
        """One that is alive was left by a conductor that died: it is only waited for."""
        status = folder.status_seen()
        if not status.is_live and status.state != "done":
            self._resume(folder)
        told = False
        while (status := folder.status_seen()).is_live:
            if self.study.shall_stop() and not told:
                self.engine.stop(folder.id)
                told = True
            self._pause()
        return status

    def _resume(self, folder: RunFolder) -> None:
        """Also begins a run that has not begun. While one trains in this thread, another one listens: where the study
        was to stop before the attempt was taken, nobody could tell the run."""
        over = threading.Event()
        if self.engine.in_this_thread:
            threading.Thread(target=self._listen, args=(folder, over), daemon=True).start()
        try:
            self.engine.resume(folder.id)
        finally:
            over.set()

    def _listen(self, folder: RunFolder, over: threading.Event) -> None:
        while not over.wait(TICK_SECONDS):
            with suppress(OSError, StoreError):
                if self.study.shall_stop() and folder.status().is_live:
                    return self.engine.stop(folder.id)

    def _pause(self) -> None:
        if self._broken.wait(TICK_SECONDS * max(1.0, self.slots / LANES)):
            raise _Abandoned

    def _figures(self, folder: RunFolder, status: RunStatus) -> dict[str, Any] | None:
        """What is kept of a run that is done; None if it was stopped meanwhile."""
        if any(row["type"] == "applied" and row["command"] == "set" for row in EventReader(folder).read()):
            raise StoreError(CHANGED)
        trace_of(folder, keep=True)  # for the pages: its log is read once
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
        from dfkd_core.store.listing import CACHE

        return dict(measure_run(folder, self.study.runs / CACHE, samples, extractor))

    def _measured_by_job(self, folder: RunFolder, samples: int, extractor: str) -> dict[str, Any] | None:
        job = Job(folder, "measure")
        asked = ["measure", folder.id, "--runs", str(self.study.runs.resolve())]
        asked += ["--samples", str(samples), "--extractor", extractor]
        for _ in range(MEASURINGS):
            number = job.start(asked)  # None: somebody measures an earlier step, or otherwise
            while (state := job.state()).state not in ENDED:
                if self.study.shall_stop():
                    if number is None:
                        return None
                    job.stop()
                self._pause()
            figures = read_figures(folder) if number is not None and state.state == "done" else None
            if number != job.leases.newest():
                continue
            if state.state == "failed":
                raise StoreError(state.message)
            return figures
        raise StoreError(OTHERWISE)


def take_up_left(runs: Path, engine: Engine) -> None:
    """Go on, in the background, with each study whose conductor died though nobody had stopped the study. One that
    another process is quicker to take is its own."""
    for study in left_in(runs):
        with suppress(OSError, StoreError):
            Conductor(study, engine, as_jobs=True).start(time.strftime(AGAIN))
