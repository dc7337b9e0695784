"""Settings › Preferences: colours and keyboard shortcuts of this browser."""

from __future__ import annotations

from aiohttp import web

from sidecar.control.console.preferences import COOKIE, KEPT_FOR, Preferences
from sidecar.control.console.visit import Screen, Visit, see

PATH = "/settings/preferences"
THEMES = (("auto", "As the system"), ("light", "Light"), ("dark", "Dark"))


class Choices:
    """A form; what it says is kept in a cookie."""

    def screens(self) -> list[Screen]:
        """For everybody who is signed in."""
        return [Screen("GET", PATH, self.show), Screen("POST", PATH, self.save)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """The form."""
        return visit.page("preferences.html", themes=THEMES)

    async def save(self, visit: Visit) -> web.StreamResponse:
        """Keep the choice."""
        chosen = Preferences.parse(f"{visit.form.get('theme', 'auto')}.{'on' if 'shortcuts' in visit.form else 'off'}")
        response = see(PATH, "preferences")
        response.set_cookie(COOKIE, str(chosen), max_age=KEPT_FOR, path="/", httponly=True, samesite="Strict")
        return response
