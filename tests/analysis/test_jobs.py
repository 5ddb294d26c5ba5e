"""Background jobs: real processes, started, watched, stopped and killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
from conftest import eventually

from dfkd_core.analysis.jobs import ENDED, Job
from dfkd_core.store import RunFolder


def test_a_job_is_a_command_of_the_lab_and_says_that_it_is_done(tmp_path: Path) -> None:
    job = Job(RunFolder(tmp_path), "listing")
    assert job.state().state == "none"
    job.start(["methods"])
    assert job.state().state == "running"
    assert eventually(lambda: job.state().state in ENDED)
    assert (job.state().state, job.state().share) == ("done", 1.0)


def test_a_refused_job_says_why_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    job = Job(RunFolder(tmp_path), "showing")
    job.start(["show", "no-such-run"])
    eventually(lambda: job.state().state in ENDED)
    assert job.state().state == "failed"
    assert "run = 'no-such-run'" in job.state().message


def test_stopping_ends_the_process(tmp_path: Path) -> None:
    job = Job(RunFolder(tmp_path), "listing")
    job.start(["methods"])
    owner = job.leases.holder()
    assert owner is not None and psutil.pid_exists(owner.pid)
    job.stop()
    assert job.state().state == "stopped"
    eventually(lambda: job.leases.holder() is None)


def test_a_job_that_was_killed_has_failed_and_can_be_started_again(tmp_path: Path) -> None:
    job = Job(RunFolder(tmp_path), "listing")
    job.start(["methods"])
    owner = job.leases.holder()
    assert owner is not None
    os.killpg(owner.pid, signal.SIGKILL)
    eventually(lambda: job.state().state == "failed")
    assert "without a word" in job.state().message
    job.start(["methods"])
    assert not psutil.pid_exists(owner.pid), "not even as a zombie"
    eventually(lambda: job.state().state == "done")
