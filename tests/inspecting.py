"""The microscope in a browser: opening it, asking it, dragging over it."""

from __future__ import annotations

from typing import Any

from browser import Lab, wait
from playwright.sync_api import Locator, Page, expect

from dfkd_core.analysis.recorded import Recorded, Sheet
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.store import RunFolder

SCOPE = ".dfkd-microscope"
BINS = 40


def opened(page: Page, lab: Lab, run: RunFolder | str, query: str = "") -> None:
    """The page of a run, with everything drawn."""
    name = run if isinstance(run, str) else run.id
    page.goto(f"{lab.url}inspect?run={name}{query}")
    wait(page, f"stage.run === '{name}' && stage.step !== '' && stage.projected === 'true'", SCOPE)


def look(page: Page, expression: str) -> Any:
    """JavaScript about ``scope``, the microscope on the page."""
    return page.evaluate(
        f"() => {{ const scope = document.querySelector('{SCOPE}').microscope; return {expression}; }}"
    )


def selected(page: Page) -> list[int]:
    return look(page, "scope.selection.indices()")


def recorded_of(run: RunFolder) -> Recorded:
    recorded = Recorded(Timeline(run))
    recorded.timeline.update()
    return recorded


def sheet_of(run: RunFolder, kind: str = "samples", step: int = 20) -> Sheet:
    sheet = recorded_of(run).sheet(kind, step)
    assert sheet is not None
    return sheet


def drag(page: Page, box: dict[str, float], path: list[tuple[float, float]]) -> None:
    """Along points in shares of a box."""
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def box_of(node: Locator) -> dict[str, float]:
    box = node.bounding_box()
    assert box is not None
    return dict(box)


def assert_selected_everywhere(page: Page, expected: list[int], count: int) -> None:
    """What the legend says, what each view draws as selected, and what an export would hold."""
    assert selected(page) == expected
    expect(page.locator(".scope-chosen")).to_have_text(f"{len(expected)} / {count} selected")
    wait(page, f"stage.selected === '{len(expected)}'", SCOPE)
    bars = "[...scope.{view}.count({arguments})].reduce((sum, bar) => sum + bar.chosenClean + bar.chosenRejected, 0)"
    arguments = "scope.frame, scope.verdict, scope.selection"
    assert look(page, bars.format(view="histogram", arguments=arguments)) == len(expected)
    assert look(page, bars.format(view="bars", arguments="scope.data.classes.length")) == len(expected)
    assert look(page, FRONT) == expected, "the projection draws others in front"
    assert look(page, RINGED) == expected, "the grid rings others"
    expect(page.get_by_text(f"Export {len(expected)} selected")).to_be_visible()


# The points that the projection draws at full strength, and the tiles that the grid draws with a ring: both are made
# to draw once more, and what they do is written down.
FRONT = """(() => {
  const found = [], scatter = scope.projection.scatter, group = scatter.group;
  scatter.group = function (context, about, theme) { if (!about.faded) found.push(...about.members); };
  scatter.draw();
  scatter.group = group;
  scatter.draw();
  return found.sort((a, b) => a - b);
})()"""
RINGED = """(() => {
  const found = [], grid = scope.grid, [ring, tile] = [grid.ring, grid.tile];
  let index = null;
  scope.hovered = scope.opened = null;
  grid.focused = false;
  grid.tile = function (...about) { index = about[2]; tile.apply(grid, about); };
  grid.ring = () => found.push(index);
  const side = grid.side;
  grid.side = 20;
  grid.draw();
  Object.assign(grid, { ring, tile, side });
  grid.draw();
  return found.sort((a, b) => a - b);
})()"""
