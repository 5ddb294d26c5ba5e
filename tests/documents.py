"""Reading HTML files as somebody without the lab does."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What an HTML file asks for, and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked, self.tags, self.said = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asked += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.said += data
