"""The authorizer of one worker, put together."""

from __future__ import annotations

from typing import ClassVar

from sidecar.worker.authz.authorizer import Authorizer
from sidecar.worker.authz.line import Line
from sidecar.worker.client.front import Serving
from sidecar.worker.plane import DataPlane, Parts
from sidecar.worker.rewrite import rewriter_for


class AuthzPlane(DataPlane):
    """Answers questions where the data plane would forward."""

    behind_proxy: ClassVar[bool] = True

    def _serving(self, parts: Parts) -> Serving:
        bare = rewriter_for(parts.settings.proxy.listen, parts.profile, parts.settings.hub, via="")
        return Authorizer(Line(parts, self._accept, bare, self._clock), parts.settings.proxy.bounds)
