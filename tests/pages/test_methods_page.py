"""The page Methods: what its table and its comparison say, where its links and buttons lead, what the address holds."""

from __future__ import annotations

import json
import re

import pytest
from browser import Lab, button, shoot
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core import methods
from pages.ui.methods import beside, document, facts, gradients, source, table

PAGE = "pages/methods.py"
TABLE = '<th scope="row">student loss</th>'


def shown(app: AppTest) -> str:
    """All that the page has drawn as HTML."""
    return " ".join(box.proto.body for box in app.get("html"))


# --- the table -------------------------------------------------------------------------------------------------


def test_a_need_leaves_the_methods_that_it_holds_of() -> None:
    every = {one.name for one in facts.fitting([], "demo")}
    assert every == set(methods.available())
    whole = {one.name for one in facts.fitting(["no-batchnorm"], "demo")}
    assert {"dfad", "zskt", "dafl"} <= whole and not whole & {"ddad", "cmi", "ta-dfkd"}
    direct = {one.name for one in facts.fitting(["direct", "alone"], "demo")}
    assert {"dfad", "ta-dfkd"} <= direct and not direct & {"cmi", "fast", "deepinversion", "hidfd"}


@pytest.mark.parametrize("name", methods.available())
def test_the_table_has_every_method_with_all_that_it_says_of_one(name: str) -> None:
    found = table.row(facts.of(name, "demo"), "demo")
    assert found["title"] == methods.find(name).title and found["order"]["steps"] > 0
    assert all(found[cell][0] for cell in ("images", "student", "kept", "steps", "asked"))
    assert "not told" not in found["images"] + found["student"]


def test_terms_are_grouped_by_what_they_move_and_say_that_they_need_batch_norm() -> None:
    (moved, terms), *_ = facts.groups(facts.of("deepinversion", "demo"))
    assert moved == "images themselves"
    assert [term["name"] for term in terms if term["batch_norm"]] == ["BN statistics"]


def test_what_is_kept_says_its_bound_in_megabytes_of_the_presets_benchmark() -> None:
    kept = {preset: facts.rows(facts.of("fast", preset), preset)["Kept of images"] for preset in facts.PRESETS}
    size = {preset: float(re.search(r"at most ([\d.]+) MB", said)[1]) for preset, said in kept.items()}  # type: ignore[index]
    assert size["demo"] == pytest.approx(51_200 * 64 / 1e6, abs=0.1)
    assert size["paper"] == pytest.approx(51_200 * 3 * 1024 / 1e6, abs=0.1)


def test_needs_stand_in_the_address_and_come_from_it(app: AppTest) -> None:
    app.query_params["need"] = "direct,nonsense"
    app.switch_page(PAGE).run()
    assert not app.exception and app.query_params["need"] == "direct"
    app.button_group(key="methods:need").set_value(["classifier", "generative"]).run()
    assert app.query_params["need"] == "classifier,generative"
    assert "No method does all of this" in app.info[0].value


# --- one method ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", methods.available())
def test_every_document_gives_formulas_and_no_link_that_leads_nowhere(name: str) -> None:
    found = document.read(name)
    assert found is not None
    assert "#### Objective" in found.method and found.numbers and found.lead
    texts = (found.lead, found.method, found.results, found.numbers)
    written = (document.FOLDER / f"{name}.md").read_text().count("```math")
    assert sum(text.count("$$") for text in texts) == 2 * written
    for text in texts:
        assert "```math" not in text and "<!--" not in text
        links = re.findall(r"\]\(([^)]*)\)", text)
        assert all(one.startswith(("https://", "/methods?method=")) for one in links)


def test_the_source_stands_line_by_line_with_its_equations_marked() -> None:
    text = '"""Of eq. 6 and eqs. 1 to 4."""\n\nclass A:  # L_S = a < b\n    x = "eq. 9"\n'
    rows = source.lines(text)
    assert len(rows) == 4 and rows[0].count("<mark>") == 2 and "a &lt; b" in rows[2] and "<mark>" not in rows[3]
    plain = [re.sub("<[^>]*>", "", row) for row in rows]
    assert [row.replace("&lt;", "<").replace("&quot;", '"') for row in plain] == text.splitlines()
    assert source.equations(text)[:3] == [("eq. 6", 1), ("eqs. 1 to 4", 1), ("L_S", 3)]


@pytest.mark.parametrize("part", ["", "facts", "knobs", "results", "numbers"])
def test_a_method_shows_one_of_its_parts_and_the_address_says_which(app: AppTest, part: str) -> None:
    app.query_params["method"] = "cmi"
    if part:
        app.query_params["part"] = part
    app.switch_page(PAGE).run()
    assert not app.exception and app.query_params.get("part", [""]) in (part, [part])
    said = " ".join(text.value for text in app.markdown)
    assert ("instance" in shown(app)) and (("L_{cr}" in said) == (part in ("", "numbers")))
    assert bool(app.dataframe) == (part == "knobs")
    assert ("Teacher queries a step" in shown(app)) == (part == "facts")


@pytest.mark.parametrize(("name", "page"), [("cmi", ""), ("degan", "hybrid"), ("ukd", "generative")])
def test_distil_with_this_leads_to_the_form_with_the_method_chosen(app: AppTest, name: str, page: str) -> None:
    app.query_params.update({"method": name, "preset": "cpu"})
    app.switch_page(PAGE).run()
    app.button(key="distil").click().run()
    assert not app.exception and not app.error
    assert app.selectbox(key="form:method").value == name
    assert app.button_group(key="form:preset").value == "cpu"


# --- two methods -----------------------------------------------------------------------------------------------


def test_two_methods_are_told_apart_by_what_differs() -> None:
    one, other = (facts.of(name, "paper") for name in ("fast", "nayer"))
    told = {name: (first, second) for name, first, second in beside.of_facts(one, other, "paper")}
    assert told["The student matches"][0] == told["The student matches"][1]
    assert told["Teacher queries a step"] == ("104,960", "114,400") or told["Teacher queries a step"][0] != ""
    differing, same = beside.split(beside.knobs(one, other))
    names = {name for name, *_ in differing}
    assert {"batch size", "latent lr", "embedding"} <= names and "temperature" in {name for name, *_ in same}
    assert ("latent lr", "0.01", "—") in differing


def test_a_comparison_stands_in_the_address_and_marks_its_rows(app: AppTest) -> None:
    app.query_params.update({"method": "dfad", "with": "ddad"})
    app.switch_page(PAGE).run()
    assert not app.exception and 'class="differs"' in shown(app) and "BatchNorm weight" in shown(app)
    app.selectbox(key="methods:with").set_value("").run()
    assert "with" not in app.query_params and app.query_params["method"] in ("dfad", ["dfad"])


# --- the rest --------------------------------------------------------------------------------------------------


def test_benchmarks_say_what_to_put_where(app: AppTest) -> None:
    app.query_params["view"] = "benchmarks"
    app.switch_page(PAGE).run()
    assert not app.exception
    assert "Comes with the lab" in shown(app) and "benchmarks download mnist" in shown(app)


def test_from_the_table_to_a_method_to_the_form_in_a_browser(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "?seed=5")
    expect(button(page, "Start")).to_be_enabled()
    page.get_by_role("link", name="Methods").click()
    rows = page.locator(".methods-table tbody tr")
    expect(rows).to_have_count(len(methods.available()))
    page.get_by_text("No optimisation per image").click()
    expect(rows).not_to_have_count(len(methods.available()))
    page.get_by_role("button", name="Steps").click()
    expect(page.locator("th[data-column=steps]")).to_have_attribute("aria-sort", "ascending")
    for name in ("Compare DFAD", "Compare DDAD"):
        page.get_by_label(name, exact=True).check()
    button(page, "Compare the two that are ticked").click()
    expect(page.locator(".methods-page tr.differs").first).to_be_visible()
    page.wait_for_url(re.compile(r"with=ddad"))
    button(page, "All methods").click()
    page.get_by_role("link", name="ZSKT").click()
    page.wait_for_url(re.compile(r"method=zskt"))
    expect(page.locator(".source .line").first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < 6000
    shoot(page, "method")
    button(page, "Distil with this").click()
    expect(button(page, "Start")).to_be_enabled()
    page.wait_for_url(re.compile(r"method=zskt.*seed=5"))  # what else was set in the form is still so


# --- the gradient audit ----------------------------------------------------------------------------------------


def test_what_was_found_ships_for_every_method(app: AppTest) -> None:
    known = json.loads(gradients.SHIPPED.read_text())
    assert set(known) == set(methods.available())
    for name, one in known.items():
        terms = {pull["term"] for pull in one["found"]["pulls"]}
        assert {term.name for term in methods.find(name).terms} <= terms, name


def test_a_method_is_examined_with_another_teacher(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "FIRST", 1)
    monkeypatch.setattr(gradients, "LATER", 1)
    app.query_params["method"], app.query_params["part"] = "noise", "gradients"
    app.switch_page(PAGE).run()
    assert not app.exception and TABLE in shown(app)
    app.selectbox(key="methods:audited:noise").set_value("digits-lenet5-long").run()
    assert TABLE not in shown(app)
    app.button(key="audit").click().run(timeout=120)
    assert not app.exception and not app.error and TABLE in shown(app)
