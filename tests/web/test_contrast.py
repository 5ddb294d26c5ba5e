"""Colours that are written in can be read: a contrast of at least 4.5 : 1, in both themes (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
import tomllib

import pytest
from conftest import ROOT

LEAST = 4.5
THEMES = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
LOOK = (ROOT / "pages" / "ui" / "web" / "look.css").read_text()
RULES = {"light": ".dfkd-view", "dark": ".dfkd-view.dark"}


def channels(colour: str) -> list[float]:
    return [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]


def mixed(colour: str, ground: str, share: float) -> str:
    parts = zip(channels(colour), channels(ground), strict=True)
    return "#" + "".join(f"{round(255 * (a * share + b * (1 - share))):02x}" for a, b in parts)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def named(theme: str) -> dict[str, str]:
    """The colours that mean something, and the muted one as it is mixed."""
    _, _, rule = ("\n" + LOOK).partition(f"\n{RULES[theme]} {{")
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", rule.partition("}")[0]))
    share = re.search(r"--muted: color-mix\(in srgb, var\(--st-text-color\) (\d+)%", LOOK)
    assert len(found) == 6 and share is not None
    ground = THEMES[theme]["secondaryBackgroundColor"]
    return found | {"muted": mixed(THEMES[theme]["textColor"], ground, int(share[1]) / 100)}


@pytest.mark.parametrize("theme", list(RULES))
def test_what_is_written_in_colour_can_be_read(theme: str) -> None:
    grounds = [THEMES[theme][name] for name in ("backgroundColor", "secondaryBackgroundColor")]
    worst = {name: min(contrast(colour, ground) for ground in grounds) for name, colour in named(theme).items()}
    assert not {name: found for name, found in worst.items() if found < LEAST}


@pytest.mark.parametrize("theme", list(RULES))
def test_the_words_on_a_primary_button_can_be_read(theme: str) -> None:
    assert contrast("#ffffff", THEMES[theme]["primaryColor"]) >= LEAST
