from __future__ import annotations

from functools import cache

import pytest

from sidecar.hubs import load
from sidecar.hubs.load import BUILT_IN
from sidecar.hubs.profile import Headers
from sidecar.hubs.protected import HeaderPolicy

load_profile = cache(load.load_profile)

NEVER = (
    "authorization proxy-authorization connection keep-alive te trailer transfer-encoding upgrade proxy-connection "
    "host expect content-length cookie forwarded x-forwarded-for x-forwarded-host x-forwarded-user x-real-ip "
    "x-real-hostname x-auth-request-user x-remote-user remote-user x-user x-user-did x-user-role x-userid "
    "x-original-url x-rewrite-url x-http-method-override x_user_did x_forwarded_for content_length x-request-id "
    "x-sidecar-key-id cf-access-authenticated-user-email cf-access-jwt-assertion tailscale-user-login "
    "x-pomerium-jwt-assertion x-authentik-username x-vouch-user x-token-user-email x-appengine-user-email "
    "x-ms-token-aad-id-token "
)
HUB = (
    "x-connected-did x-app-id x-app-user-did x-timestamp x-component-sig x-component-did x-blocklet-did "
    "x-access-blocklet x-path-prefix x-group-path-prefix x-page-group x-routing-rule-id x-routing-rule-path-prefix "
    "x-aigne-hub-client-did x-csrf-token x-amz-cf-id arcwallet-version x-user-wallet-os "
)


@pytest.mark.parametrize("profile", BUILT_IN)
@pytest.mark.parametrize("name", NEVER.split())
def test_no_profile_passes_these(profile, name):
    assert not HeaderPolicy(load_profile(profile).headers).passes(name.encode())


@pytest.mark.parametrize("name", HUB.split())
def test_what_an_aigne_hub_would_believe_is_protected_even_without_the_allow_list(name):
    headers = load_profile("aigne").headers
    assert not HeaderPolicy(headers).passes(name.encode())
    assert not HeaderPolicy(Headers(protect=headers.protect, inject=headers.inject)).passes(name.encode())


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-litellm-api-key", "openai-organization"])
def test_the_openai_profile_takes_no_other_credential(name):
    assert not HeaderPolicy(load_profile("openai").headers).passes(name.encode())


@pytest.mark.parametrize("profile", BUILT_IN)
@pytest.mark.parametrize("name", ["content-type", "accept", "user-agent", "traceparent", "idempotency-key", "x-stainless-lang"])
def test_what_passes(profile, name):
    policy = HeaderPolicy(load_profile(profile).headers)
    assert policy.passes(name.encode())
    assert policy.passes(name.encode())


def test_aigne_passes_its_allow_list_only():
    policy = HeaderPolicy(load_profile("aigne").headers)
    assert not policy.passes(b"x-anything-else")
    assert HeaderPolicy(load_profile("generic").headers).passes(b"x-anything-else")


def test_cookies_pass_where_a_profile_says_so():
    assert HeaderPolicy(Headers(cookies=True)).passes(b"cookie")


def test_names_from_clients_are_remembered_within_bounds():
    policy = HeaderPolicy(Headers())
    for number in range(5000):
        assert policy.passes(b"x-%d" % number)
    assert policy.passes(b"x-4999")
