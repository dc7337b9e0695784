"""From a template and what it shows to a response. Everything that a template prints is escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from sidecar import __version__
from sidecar.control.console import text
from sidecar.control.console.assets import Assets
from sidecar.control.console.early import END
from sidecar.control.console.guard import PAGE_HEADERS


class Pages:
    """Renders templates; those are read once and kept compiled."""

    def __init__(self, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("sidecar.control.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "absolute": text.absolute,
            "compact": text.compact,
            "credits": text.credits,
            "milliseconds": text.milliseconds,
            "share": text.share,
            "size": text.size,
            "whole": text.whole,
        }
        self._environment.globals |= {"asset": assets.url, "version": __version__, "change": text.change}

    def html(self, template: str, now: float, **shown: Any) -> str:
        """The page as text; `now` is Unix seconds."""
        moment = datetime.fromtimestamp(now, UTC)
        return self._environment.get_template(template).render(now=moment, time=_Times(moment), **shown)

    def head(self, template: str, now: float, **shown: Any) -> str:
        """The beginning of the page, with its head at least; what stands below need not be `shown` yet."""
        begun = []
        for piece in self._environment.get_template(template).generate(now=datetime.fromtimestamp(now, UTC), **shown):
            begun.append(piece)
            if END in piece:
                break
        return "".join(begun)

    def page(self, template: str, now: float, *, status: int = 200, **shown: Any) -> web.Response:
        """The page as a response."""
        return web.Response(status=status, text=self.html(template, now, **shown), content_type="text/html", headers=PAGE_HEADERS)


class _Times:
    """Makes `<time>` elements: relative in the text, absolute in the title. Moments may be as the API writes them."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self, moment: datetime | str | None, otherwise: str = "never") -> Markup:
        if moment is None:
            return Markup('<span class="quiet">{}</span>').format(otherwise)
        moment = _read(moment)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            text.absolute(moment),
            text.relative(moment, self._now),
        )

    def ahead(self, moment: datetime | str | None) -> bool:
        """Whether it is still to come."""
        return moment is not None and _read(moment) > self._now


def _read(moment: datetime | str) -> datetime:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
