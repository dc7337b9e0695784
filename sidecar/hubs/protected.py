"""Request headers that no client may send to a hub through the sidecar, whatever its profile says.

Data and one look-up. Names are compared in lower case. A name with `_` is dropped whole: many
servers read `x_user_did` as `x-user-did` (CGI's rule), so what is protected in one spelling is in both.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.hubs.profile import Headers

HOP_BY_HOP = (
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
)
"""RFC 9110 7.6.1 and what is used like them; fields that Connection nominates are dropped beside these."""

REPLACED = ("authorization", "host", "content-length", "expect", "x-request-id")
"""Fields that the sidecar answers for itself: a client's copy never passes, the sidecar sets its own where one is due."""

PASSED_ON = "via"
"""Who forwarded a request before: the sidecar says itself behind it (RFC 9110 7.6.3), so no list of allowed fields leaves it out."""

IDENTITY = (
    "forwarded",
    "x-forwarded",
    "x-forwarded-*",
    "x-real-*",
    "x-auth-*",
    "x-authenticated-*",
    "x-remote-*",
    "remote-*",
    "x-user*",
    "x-original-*",
    "x-rewrite-*",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-client-ip",
    "x-client-cert*",
    "x-cluster-client-ip",
    "x-envoy-*",
    "x-consumer-*",
    "x-credential-*",
    "x-webauth-*",
    "x-ssl-*",
    "ssl-*",
    "client-cert*",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip*",
    "fastly-client-ip",
    "x-amzn-oidc-*",
    "x-goog-authenticated-*",
    "x-goog-iap-*",
    "cf-access-*",
    "tailscale-*",
    "x-pomerium-*",
    "x-authentik-*",
    "x-vouch-*",
    "x-token-user-*",
    "x-appengine-*",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "x-proxy-user",
    "x-sidecar-*",
    "x-aigne-hub-*",
)
"""What hubs and the proxies before them read as: who is asking, from where, for which address."""


class HeaderPolicy:
    """Says which of a client's header fields reach the hub; one look-up in a dict for names seen before."""

    def __init__(self, headers: Headers) -> None:
        cookies = () if headers.cookies else ("cookie", "cookie2")
        self._protected = _Names((*HOP_BY_HOP, *REPLACED, *IDENTITY, *cookies, *headers.protect, *headers.inject))
        self._allowed = None if headers.allow is None else _Names(headers.allow)
        self.verdicts = _Verdicts(self._judge)
        """`verdicts[name]` is `passes(name)`, without a call for names seen before."""

    def passes(self, name: bytes) -> bool:
        """Whether a field called `name` (lower case) reaches the hub, unless Connection nominates it."""
        return self.verdicts[name]

    def _judge(self, raw: bytes) -> bool:
        name = raw.decode("latin-1")
        if "_" in name or self._protected.has(name):
            return False
        return self._allowed is None or name == PASSED_ON or self._allowed.has(name)


class _Verdicts(dict[bytes, bool]):
    """Remembers what `judge` said of a name. Names come from clients, so what is remembered of them is bounded."""

    _REMEMBERED = 1024

    def __init__(self, judge: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, name: bytes) -> bool:
        verdict = self._judge(name)
        if len(self) < self._REMEMBERED:
            self[name] = verdict
        return verdict


class _Names:
    """A set of names and of families (`x-foo-*`)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._exact = frozenset(name.lower() for name in names if not name.endswith("*"))
        self._families = tuple(name[:-1].lower() for name in names if name.endswith("*"))

    def has(self, name: str) -> bool:
        return name in self._exact or name.startswith(self._families)
