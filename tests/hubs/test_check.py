from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.hubs.check import faults_of, path_fault
from sidecar.hubs.profile import Headers, Ledger, Profile, Route


def route(**given: Any) -> Route:
    return Route(**{"name": "a", "methods": ("GET",), "path": "/a"} | given)


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/**", "/a/**", "/a/*/b", "/*", "/a/*/**", "/a%20b", "/__blocklet__.js", "/a:b@c"])
def test_paths(path):
    assert path_fault(path) is None


@pytest.mark.parametrize(
    "path", ["", "a", "//", "/a//b", "/a/../b", "/.", "/a**", "/a/**/b", "/a*", "/a?b", "/a#b", "/a b", "/%zz", "/a\\b", "/é"]
)
def test_what_is_no_path(path):
    assert path_fault(path) is not None


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        (Profile(name="p", routes=(route(methods=("get",)),)), "routes[0].methods: 'get'"),
        (Profile(name="p", routes=(route(methods=("OPTIONS",)),)), "routes[0].methods: 'OPTIONS'"),
        (Profile(name="p", routes=(route(model=("body:x",)),)), "routes[0].model: 'body:x'"),
        (Profile(name="p", routes=(route(model=("json:",)),)), "routes[0].model: 'json:'"),
        (Profile(name="p", routes=(route(model=("json:a|json:",)),)), "routes[0].model: 'json:'"),
        (Profile(name="p", routes=(route(model=("json:a", "json:b|json:c")),)), "routes[0].model: 'json:b|json:c' has alternatives, which"),
        (Profile(name="p", routes=(route(model=("query:a|json:b",)),)), "routes[0].model: 'query:a|json:b' has alternatives in the body"),
        (Profile(name="p", routes=(route(rewrite="/b/**"),)), "routes[0].rewrite: must end"),
        (Profile(name="p", routes=(route(path="/a/*/b", rewrite="/b/*/c"),)), "routes[0].rewrite: cannot hold"),
        (Profile(name="p", routes=(route(public=True, opt_in=True),)), "routes[0]: a public route"),
        (Profile(name="p", routes=(route(answer="blocklet"),)), "routes[0].answer: only"),
        (Profile(name="p", routes=(route(), route(name="b", aliases=("/a",), path="/b"))), "routes[1]: GET /a is already routes[0]"),
        (Profile(name="p", routes=(route(),), headers=Headers(allow=("a b",))), "headers.allow: 'a b'"),
        (Profile(name="p", routes=(route(),), headers=Headers(inject={"x-*": "1"})), "headers.inject: 'x-*'"),
        (
            Profile(name="p", routes=(route(),), headers=Headers(inject={"Authorization": "1", "x": "2", "authorization": "3"})),
            "headers.inject.authorization: is there twice, in other capitals; leave one out",
        ),
        (Profile(name="p", routes=(route(),), headers=Headers(inject={"x": "{secret}"})), "headers.inject.x: {secret} is unknown"),
        (Profile(name="p", routes=(route(),), headers=Headers(inject={"x": "{key_id"})), "headers.inject.x: is not a header value"),
        (Profile(name="p", routes=(route(),), headers=Headers(inject={"x": "a\nb"})), "headers.inject.x: is not a header value"),
        (
            Profile(name="p", routes=(route(),), headers=Headers(inject={"Host": "a"})),
            "headers.inject.host: the sidecar sets it; say what the hub is called in hub.host",
        ),
        *(
            (Profile(name="p", routes=(route(),), headers=Headers(inject={name: "1"})), f"headers.inject.{name}: the sidecar itself sets")
            for name in ("Content-Length", "transfer-encoding", "Connection", "te", "expect", "Via", "traceparent", "upgrade")
        ),
        (Profile(name="p", routes=(route(),), credential_parameters=(" ",)), "credential_parameters: ' '"),
    ],
)
def test_faults(profile, fault):
    faults = faults_of(profile)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize(
    ("ledger", "fault"),
    [
        (Ledger(form="aigne", path="calls", parameter="app"), "ledger.path"),
        (Ledger(form="aigne", path="/calls/*", parameter="app"), "ledger.path"),
        (Ledger(form="aigne", path="/calls"), "ledger.parameter"),
        (Ledger(form="aigne", path="/calls", parameter="app", key="all"), "ledger.key"),
        (Ledger(form="aigne", path="/calls", parameter="app", key="{key_id}{access_key}"), "ledger.key"),
    ],
)
def test_a_ledger_that_cannot_be_asked_is_a_fault(ledger: Ledger, fault: str) -> None:
    profile = Profile(name="x", routes=(Route(name="r", methods=("GET",), path="/r"),), ledger=ledger)
    assert [each.partition(":")[0] for each in faults_of(profile)] == [fault]
    assert faults_of(msgspec.structs.replace(profile, ledger=Ledger())) == []
