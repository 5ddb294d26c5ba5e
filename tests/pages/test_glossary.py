"""The glossary: no word of the pages is missing, no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import Lab, shoot
from conftest import execute, new_run, some_methods
from playwright.sync_api import Page, expect
from streamlit import config

from dfkd_core import methods
from dfkd_core.analysis.timeline import Timeline
from pages.ui.words import glossary, phases


def missing(names: list[str]) -> list[str]:
    assert names
    return [name for name in names if glossary.find(name) is None]


def with_every_term(method: str) -> dict[str, float]:
    """Knobs of ``method`` by which no loss term is off."""
    return {name: 0.1 for name in methods.find(method).Config.model_fields if name.endswith("_weight")}


@pytest.mark.parametrize("method", list(methods.available()))
def test_every_knob_and_every_group_of_knobs_has_a_term(method: str) -> None:
    knobs = methods.find(method).Config
    assert not missing([*knobs.model_fields, *(knobs.about(name)["group"] for name in knobs.model_fields)])


@pytest.mark.usefixtures("few_judged")
@pytest.mark.parametrize("method", some_methods())
def test_every_metric_of_a_run_has_a_term(method: str, runs: Path) -> None:
    timeline = Timeline(new_run(runs, with_every_term(method), method=method, health_every=1))
    execute(timeline.folder)
    timeline.update()
    score = "agreement" if methods.find(method).requires.task == "classifier" else "mismatch"
    assert len(timeline.curves) > 4 and score in timeline.curves
    assert not missing(list(timeline.curves))


@pytest.mark.parametrize("method", list(methods.available()))
def test_every_phase_of_slow_motion_leads_to_terms(method: str) -> None:
    described = phases.described(method, list(methods.find(method).phases))
    assert all(phase["title"] for phase in described)
    assert not missing([name for phase in described for name in phase["terms"]])


ONE = """
[sources]
HERE = "a measure of this lab"
[terms.one]
meaning = '''
A first
  line.'''
seen = "Distill"
"""


def test_a_glossary_is_read_from_toml() -> None:
    (term,) = glossary.read(ONE + 'source = "{HERE}, eq. 1"\nsymbol = "z_{l+1}"\nalso = ["first"]')
    assert (term.name, term.meaning, term.names) == ("one", "A first line.", ("one", "first"))
    assert (term.source, term.symbol) == ("a measure of this lab, eq. 1", "z_{l+1}")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('related = ["nowhere"]', "“one” is related to “nowhere”"),
        ('related = ["one"]', "“one” is related to “one”"),
        ('also = ["two"]\nrelated = ["two"]', "“one” is related to “two”"),
        ('source = "{THERE}"', "“one” quotes 'THERE'"),
        ('links = ["one"]', "“one”, links: Unexpected"),
        ('also = "first"', "“one”, also: Input should be a valid tuple"),
        ('also = ["One"]', "“one” has a name that is not its own: “one”"),
        ('[terms.two]\nmeaning = "That."\nseen = "Inspect"\nalso = ["one"]', "“two” has a name"),
        ('[terms.two]\nseen = "Inspect"', "“two”, meaning: Field required"),
        ('[terms.two]\nmeaning = ""\nseen = "Inspect"', "“two”, meaning: String should have"),
    ],
)
def test_a_faulty_term_is_named_in_one_sentence(more: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        glossary.read(ONE + more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("posterior", "posterior"),
        ("posterior_cut", "threshold"),
        ("τ", "threshold"),
        ("Judged losses", "judged loss"),
        ("share/tv", "term health"),
        ("BNS", "BN statistics"),
    ],
)
def test_a_term_is_found_by_its_name_and_by_those_of_knobs_metrics_and_panels(asked: str, name: str) -> None:
    found = glossary.find(asked)
    assert found is not None and found.name == name


@pytest.mark.parametrize("asked", ["", "/", "nonsense", "<script>"])
def test_what_is_no_term_is_not_found(asked: str) -> None:
    assert glossary.find(asked) is None


def test_a_search_wants_every_word_and_puts_names_first() -> None:
    assert glossary.matching("") == glossary.terms()
    found = [term.name for term in glossary.matching("CLEAN")]
    assert found[0] == "clean" and "rejected" not in found[:1] and "student loss" in found
    assert [term.name for term in glossary.matching("mean discovery")] == []
    assert glossary.matching("clean kept") and len(glossary.matching("clean kept")) < len(found)


def test_links_respect_the_base_path_of_the_server() -> None:
    before = config.get_option("server.baseUrlPath")
    config._set_option("server.baseUrlPath", "/lab/", "test")
    try:
        assert glossary.link("posterior_cut", "τ") == "[τ](/lab/glossary?term=posterior-cut)"
    finally:
        config._set_option("server.baseUrlPath", before, "test")
    assert glossary.path("latent") == "/glossary?term=latent"
    with pytest.raises(KeyError):
        glossary.link("nonsense")


def test_a_help_text_ends_in_its_term_where_there_is_one() -> None:
    text = glossary.help_of("posterior_cut", "Above this a sample is clean.")
    assert text == "Above this a sample is clean. [Glossary: threshold](/glossary?term=threshold)"
    assert glossary.help_of("nonsense", "As it was.") == "As it was."
    assert glossary.help_of("teacher").startswith("The large network")


# --- in the browser --------------------------------------------------------------------------------------------


def test_a_link_to_a_term_opens_with_that_term_first_and_a_search_leaves_others_out(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "glossary?term=posterior")
    entries = page.locator("[data-testid=stMain] .terms article")
    expect(entries.locator("h3")).to_have_text(["posterior"])
    expect(page.locator(".contents a")).to_have_count(len(glossary.terms()))
    shoot(page, "glossary")

    # A related term is shown beside it, in the app's colours, until Escape.
    page.emulate_media(color_scheme="dark")
    expect(page.locator(".stApp")).to_have_css("color-scheme", "dark")
    mixture = entries.get_by_role("link", name="mixture", exact=True)
    mixture.click()
    expect(page.locator(".beside h3")).to_have_text("mixture")
    expect(page.locator(".beside")).to_have_css("color-scheme", "dark")
    page.keyboard.press("Escape")
    expect(page.locator(".beside")).to_have_count(0)
    expect(mixture).to_be_focused()
    assert page.url.endswith("term=posterior")

    # A search draws only what it finds.
    search = page.get_by_role("textbox", name="Search")
    search.fill("posterior_cut")
    search.press("Enter")
    expect(page.get_by_text(f"1 of {len(glossary.terms())} terms")).to_be_visible()
    shown = page.locator(".terms article")
    expect(shown.locator("h3")).to_have_text(["threshold"])
    search.fill("qqqq")
    search.press("Enter")
    expect(page.get_by_text("No term holds these words.")).to_be_visible()


def test_the_help_of_a_knob_and_a_heading_lead_to_their_terms(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "?step=300")
    page.get_by_text("More knobs").click()
    knob = page.get_by_test_id("stNumberInput").filter(has_text="posterior cut")
    knob.get_by_test_id("stTooltipHoverTarget").hover()
    link = page.get_by_role("link", name="Glossary: threshold")  # as long as nothing that is drawn takes it away
    expect(link.and_(page.locator("[href$='/glossary?term=threshold'][target=_blank]"))).to_be_visible()
    page.keyboard.press("Escape")

    heading = page.get_by_role("link", name="Judged losses")
    heading.click()
    expect(page.locator(".beside h3")).to_have_text("judged loss")
    with page.context.expect_page() as opened:
        heading.click(modifiers=["Control"])
    expect(opened.value.locator(".terms article.first h3")).to_have_text("judged loss")
