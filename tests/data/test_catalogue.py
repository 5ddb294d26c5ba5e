"""What is known of each benchmark: the names that it gives exist, and knowing them is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

from dfkd_core.data.catalogue import BENCHMARKS, Usual, overlap, usual_of
from dfkd_core.data.sources import Shipped, available_sources, find_source
from dfkd_core.networks.classifiers import check_network
from dfkd_core.networks.latent import latent_network
from dfkd_core.teachers.cards import available_teachers


@pytest.mark.parametrize("name", [*BENCHMARKS, "folder:anywhere"])
def test_what_is_usual_exists(name: str) -> None:
    usual = usual_of(name)
    check_network(usual.student_of("classifier"))
    assert latent_network(usual.student_of("generative"))
    assert find_source(usual.source).name == usual.source != name
    assert 0 < usual.ratio < 1
    check_network(usual.teacher_network)
    assert isinstance(find_source(usual.shipped), Shipped) and not overlap(name, usual.shipped)
    assert usual.teacher in {"", *available_teachers(name)}


def test_a_folder_has_what_is_usual_anywhere() -> None:
    assert usual_of("folder:anywhere") == Usual() and usual_of("digits") != Usual()


def test_what_overlaps_exists_and_does_so_both_ways() -> None:
    known = {source.name for source in available_sources()}
    for name, benchmark in BENCHMARKS.items():
        named = benchmark.overlaps + benchmark.same_files
        assert set(named) <= known - {name} and not set(benchmark.same_files) & set(BENCHMARKS)
        assert all(overlap(name, other) and overlap(other, name) for other in named)
    assert not overlap("digits", "mnist") and not overlap("folder:one", "folder:other")


def test_benchmarks_and_sources_are_listed_without_what_reads_them() -> None:
    code = "import sys; from dfkd_core.data import catalogue, sources; sources.available_sources()"
    code += "; [one.is_there() for one in catalogue.BENCHMARKS.values()]"
    code += "; assert not {'torch', 'torchvision', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
