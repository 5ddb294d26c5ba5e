"""Layouts of a run's samples: stable while the run goes on, and never an error for what cannot be laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import eventually, execute, new_run
from recording import Recording
from sklearn.decomposition import PCA

from dfkd_core.analysis import layout
from dfkd_core.analysis.jobs import ENDED, Job
from dfkd_core.analysis.layout import fit_embedding, load_layout, pca
from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.cli.main import main
from dfkd_core.errors import RequestError
from dfkd_core.store.events_log import store_arrays


@pytest.fixture
def recording(runs: Path) -> Recording:
    """Two sheets of 20, one of the probes with 6, and 8 real images; 4 features each."""
    made = Recording(runs)
    made.add("samples", 1)
    made.add("samples", 10, features=scattered(20, 10))
    made.add("probes", 10, count=6)
    made.add_real(scattered(8, 3), [0, 1] * 4)
    return made


def scattered(count: int, seed: int) -> np.ndarray:
    """Features that spread most along one direction."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, 4)) * [1, 4, 2, 1] + [3, 0, 0, 0]).astype(np.float16)


# --- PCA -------------------------------------------------------------------------------------------------------


def test_pca_is_that_of_scikit_learn_but_for_the_sign(recording: Recording) -> None:
    recorded = recording.recorded
    sheets = [recorded.sheet("samples", 1), recorded.sheet("samples", 10), recorded.sheet("probes", 10), recorded.real]
    points = np.concatenate([sheet.features for sheet in sheets if sheet is not None])
    assert len(points) == 54
    found, theirs = pca(recorded), PCA(n_components=2).fit(points)
    assert found is not None and (found.kind, found.fitted_to) == ("pca", 10)
    for kind, step in (("samples", 1), ("samples", 10), ("probes", 10), ("real", 0)):
        sheet, ours = recorded.sheet(kind, step), found.positions(kind, step)
        assert sheet is not None and ours is not None and ours.dtype == np.float32
        assert np.abs(ours) == pytest.approx(np.abs(theirs.transform(sheet.features)), abs=1e-4)
    left, right, bottom, top = found.bounds
    everything = theirs.transform(points)
    assert right - left == pytest.approx(1.1 * np.ptp(everything[:, 0]), rel=1e-4)
    assert top - bottom == pytest.approx(1.1 * np.ptp(everything[:, 1]), rel=1e-4)
    assert found.real is not None and left < found.real[:, 0].min()


def test_nothing_jumps_while_a_run_goes_on(recording: Recording) -> None:
    first = pca(recording.recorded)
    assert first is not None
    before = first.positions("samples", 10)
    recording.add("samples", 20, features=10 * scattered(20, 20)[:, ::-1])
    for recorded in (recording.recorded, recording.reopened()):  # the same server, and another one
        later = pca(recorded)
        assert later is not None and (later.fitted_to, later.bounds) == (10, first.bounds)
        assert np.array_equal(later.positions("samples", 10), before)
        new = later.positions("samples", 20)
        assert new is not None and new.shape == (20, 2)


def test_fitting_again_takes_in_what_was_recorded_since_and_is_kept(recording: Recording) -> None:
    first = pca(recording.recorded)
    recording.add("samples", 20, features=10 * scattered(20, 20)[:, ::-1])
    again = pca(recording.recorded, refit=True)
    assert first is not None and again is not None and again.fitted_to == 20
    assert not np.allclose(first.positions("samples", 10), again.positions("samples", 10))
    kept = pca(recording.reopened())
    assert kept is not None and kept.fitted_to == 20
    assert np.array_equal(kept.positions("samples", 20), again.positions("samples", 20))


def test_a_folder_that_cannot_be_written_to_is_laid_out_all_the_same(recording: Recording, read_only: None) -> None:
    found = pca(recording.recorded)
    assert found is not None and found.positions("samples", 1) is not None
    assert pca(recording.recorded) is found, "fitted once"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_fitted_again(recording: Recording, damage: bytes) -> None:
    first, path = pca(recording.recorded), recording.folder.path / "analysis" / "layout-pca.npz"
    path.write_bytes(damage)
    again = pca(recording.reopened())
    assert first is not None and again is not None
    assert np.array_equal(again.positions("samples", 10), first.positions("samples", 10))
    assert len(path.read_bytes()) > 100


def test_axes_that_are_no_numbers_are_fitted_again(recording: Recording) -> None:
    pca(recording.recorded)
    path = recording.folder.path / "analysis" / "layout-pca.npz"
    np.savez(path, fitted_to=10, mean=np.zeros(4), axes=np.full((2, 4), np.nan), bounds=np.zeros(4))
    again = pca(recording.reopened())
    assert again is not None and np.isfinite(again.positions("samples", 10)).all()


def test_without_real_images_samples_alone_are_laid_out(runs: Path) -> None:
    recording = Recording(runs)
    recording.add("samples", 1)
    found = pca(recording.recorded)
    assert found is not None and found.real is None and found.positions("samples", 1) is not None


def test_without_features_there_is_no_layout(runs: Path) -> None:
    recording = Recording(runs)
    assert pca(recording.recorded) is None, "nothing is recorded yet"
    recording.add("samples", 1, features=None)
    assert pca(recording.recorded) is None
    with pytest.raises(RequestError, match="keeps 0 samples with features"):
        fit_embedding(recording.folder, "umap")


def test_a_sheet_whose_file_is_gone_is_passed_over(recording: Recording) -> None:
    (recording.folder.path / "samples" / "00000001.npz").unlink()
    found = pca(recording.reopened())
    assert found is not None and found.positions("samples", 1) is None and found.positions("samples", 10) is not None


def test_what_is_fitted_is_even_over_all_that_is_recorded(runs: Path) -> None:
    recording = Recording(runs)
    for step in range(1, 11):
        recording.add("samples", step, features=np.full((20, 4), step, np.float16))
    chosen, last = layout._sampled(recording.recorded, 50)
    assert np.bincount(chosen[:, 0].astype(int)).tolist() == [0] + [5] * 10 and last == 10


# --- UMAP and t-SNE --------------------------------------------------------------------------------------------


def test_a_sample_lies_between_its_nearest_landmarks(recording: Recording) -> None:
    landmarks = np.array([[0, 0], [4, 0]], np.float32)
    found = layout._embedding(recording.recorded, "umap", np.array(1), landmarks, np.array([[0, 0], [8, 16]]))
    # At 1 from the first and 3 from the second the weights are 3/4 and 1/4.
    assert found.place(np.array([[1, 0], [0, 0], [4, 0], [2, 0]])) == pytest.approx(
        np.array([[2, 4], [0, 0], [8, 16], [4, 8]]), abs=1e-6
    )


def test_tsne_is_kept_and_places_what_comes_later(recording: Recording) -> None:
    said: list[tuple[float, str]] = []
    fitted = fit_embedding(recording.folder, "tsne", lambda share, message: said.append((share, message)))
    shares = [share for share, _ in said]
    assert shares == sorted(shares) and 0.5 < shares[-1] <= 1 and len(set(shares)) > 10, "progress is heard"
    found = load_layout(recording.recorded, "tsne")
    assert found is not None and (found.kind, found.fitted_to, found.bounds) == ("tsne", 10, fitted.bounds)
    stored = np.load(recording.folder.path / "analysis" / "layout-tsne.npz")
    assert np.array_equal(found.positions("samples", 10), stored["at"][20:40]), "a landmark lies where it was put"
    assert np.array_equal(found.real, stored["at"][46:])
    recording.add("samples", 20, count=3)
    left, right, bottom, top = found.bounds
    (x, y), later = np.array([[left, right], [bottom, top]]), found.positions("samples", 20)
    assert later is not None and (later > [x[0], y[0]]).all() and (later < [x[1], y[1]]).all()
    assert load_layout(recording.recorded, "tsne") is found, "read once"
    fit_embedding(recording.folder, "tsne")
    again = load_layout(recording.recorded, "tsne")
    assert again is not None and again is not found and again.fitted_to == 20


def test_the_same_landmarks_give_the_same_layout(recording: Recording) -> None:
    first, second = (fit_embedding(recording.folder, "tsne") for _ in range(2))
    assert np.array_equal(first.positions("samples", 1), second.positions("samples", 1))


def test_landmarks_are_thinned_and_the_others_placed_among_them(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "LANDMARKS", 30)
    found = fit_embedding(recording.folder, "tsne")
    stored = np.load(recording.folder.path / "analysis" / "layout-tsne.npz")
    assert len(stored["landmarks"]) == 30 and stored["landmarks"].dtype == np.float16
    for kind, step in (("samples", 1), ("samples", 10), ("probes", 10)):
        sheet, positions = recording.recorded.sheet(kind, step), found.positions(kind, step)
        assert sheet is not None and positions is not None and len(positions) == len(sheet)


@pytest.mark.parametrize("damage", ["gone", "torn", "foreign", "not finite"])
def test_a_damaged_embedding_is_none(recording: Recording, damage: str) -> None:
    path = recording.folder.path / "analysis" / "layout-umap.npz"
    path.parent.mkdir()
    landmarks = np.zeros((12, 4), np.float16)
    store_arrays(recording.folder, "analysis/layout-umap.npz", fitted_to=1, landmarks=landmarks, at=np.zeros((12, 2)))
    assert load_layout(recording.recorded, "umap") is not None
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "foreign":
        store_arrays(recording.folder, "analysis/layout-umap.npz", something=np.zeros(3))
    else:
        nowhere = np.full((12, 2), np.nan)
        store_arrays(recording.folder, "analysis/layout-umap.npz", fitted_to=1, landmarks=landmarks, at=nowhere)
    assert load_layout(recording.recorded, "umap") is None


def test_too_little_or_all_alike_is_refused_in_words(runs: Path) -> None:
    recording = Recording(runs)
    recording.add("samples", 1, count=9)
    with pytest.raises(RequestError, match="keeps 9 samples with features; a layout needs 10"):
        fit_embedding(recording.folder, "tsne")
    alike = Recording(runs)
    alike.add("samples", 1, features=np.ones((20, 4), np.float16))
    with pytest.raises(RequestError, match="all alike"):
        fit_embedding(alike.folder, "tsne")


def test_an_unknown_kind_is_refused(recording: Recording) -> None:
    for asked in (lambda: fit_embedding(recording.folder, "pca"), lambda: load_layout(recording.recorded, "pca")):
        with pytest.raises(RequestError, match="kind = 'pca': should be one of umap, tsne"):
            asked()


def test_an_embedding_that_cannot_be_kept_is_refused_in_words(recording: Recording, read_only: None) -> None:
    with pytest.raises(RequestError, match="its folder cannot be written to"):
        fit_embedding(recording.folder, "tsne")


@pytest.mark.slow  # numba compiles it; the page's t-SNE is such a job too
def test_umap_of_a_real_run_as_a_job(runs: Path) -> None:
    folder = new_run(runs, probes_every=3, probes=8, real=30)
    execute(folder)
    job = Job(folder, "layout-umap")
    job.start(["layout", folder.id, "--kind", "umap", "--runs", str(runs)])
    eventually(lambda: job.state().state in ENDED, seconds=240)
    assert (job.state().state, job.state().message, job.state().share) == ("done", "", 1.0)
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    found = load_layout(recorded, "umap")
    assert found is not None and found.fitted_to == recorded.steps("samples")[-1]
    positions = found.positions("probes", 3)
    assert positions is not None and positions.shape == (8, 2) and np.ptp(positions, axis=0).min() > 0.1
    assert found.real is not None and found.real.shape == (30, 2)


def test_the_command_lays_out_and_says_so(recording: Recording, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layout", recording.folder.id, "--kind", "tsne", "--runs", str(runs)]) == 0
    said = capsys.readouterr()
    assert said.out == f"tsne of run {recording.folder.id}: fitted to the samples up to step 10\n"
    assert "100%" in said.err
    assert main(["layout", "nothing-like-it", "--runs", str(runs)]) == 2
