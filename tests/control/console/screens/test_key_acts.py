"""Editing, rotating, disabling and revoking one key: each act ends in the API's own handler, so it is recorded and checked there."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from sidecar.control.admin.presenting import key_object
from sidecar.control.audit import Filter
from sidecar.control.console.forms import KeyForm
from sidecar.keys.record import Key
from tests.control.console.conftest import Browser, Console, Page
from tests.control.support.events import request

HOME = "/settings/api-keys"


@dataclass
class Made:
    browser: Browser
    key_id: str
    path: str


@pytest.fixture
async def made(console: Console) -> Made:
    key_id, _ = await console.create("Support bot", rpm="10")
    return Made(await console.signed_in("operator"), key_id, f"{HOME}/{key_id}")


async def key_of(console: Console, made: Made) -> Key:
    key = await console.services.keys.get(made.key_id)
    assert key is not None
    return key


async def actions(console: Console) -> list[str]:
    return [sealed.event.action for sealed in (await console.services.audit.query(Filter(), 5)).events]


def fields_of(key: Key, **changes: str) -> dict[str, str]:
    plain = {"name": key.name, "owner": key.owner, "rpm": str(key.limits.rpm or ""), "revision": str(key.revision)}
    return plain | changes


async def test_edit_shows_what_is_and_saves_what_is_said(console: Console, made: Made) -> None:
    page = await made.browser.get(f"{made.path}/edit")
    assert 'value="Support bot"' in page.text and re.search(r'id="rpm"[^>]*value="10"', page.text)
    key = await key_of(console, made)
    page = await made.browser.post(f"{made.path}/edit", fields_of(key, owner="support", rpm="", allowed_models="none"))
    assert page.location == f"{made.path}?done=changed"
    changed = await key_of(console, made)
    assert (changed.owner, changed.limits.rpm, changed.allowed_models) == ("support", None, ())
    assert (await actions(console))[0] == "api_key.updated"
    assert "Changes saved." in (await made.browser.get(page.location)).text


async def test_an_edit_of_an_older_state_changes_nothing(console: Console, made: Made) -> None:
    key = await key_of(console, made)
    await made.browser.post(f"{made.path}/edit", fields_of(key, owner="first"))
    page = await made.browser.post(f"{made.path}/edit", fields_of(key, owner="second", allowed_models="a\nb"))
    assert page.status == 409 and "has changed" in page.text
    assert (await key_of(console, made)).owner == "first"
    # What was typed is not lost, and sending it again overwrites nothing either.
    assert re.search(r'id="owner"[^>]*value="second"', page.text) and ">a\nb</textarea>" in page.text
    assert (await made.browser.post(f"{made.path}/edit", fields_of(key, owner="second"))).status == 409


async def test_an_edit_leaves_the_date_that_another_end_replaces(console: Console, made: Made) -> None:
    """A date that is changed beside another choice would be lost; the one that stood there says nothing. An end may be set back."""
    dated = fields_of(await key_of(console, made), expires="at", expires_at="2999-01-01T00:00")
    assert (await made.browser.post(f"{made.path}/edit", dated)).status == 303
    changed = fields_of(await key_of(console, made), expires="", expires_at="2999-06-01T00:00")
    page = await made.browser.post(f"{made.path}/edit", changed)
    assert page.status == 400 and 'href="#expires_at"' in page.text and (await key_of(console, made)).expires_at is not None
    assert (await made.browser.post(f"{made.path}/edit", {**changed, "expires_at": "2999-01-01T00:00"})).status == 303
    assert (await key_of(console, made)).expires_at is None
    past = fields_of(await key_of(console, made), expires="at", expires_at="2001-01-01T00:00")
    assert (await made.browser.post(f"{made.path}/edit", past)).status == 303


async def test_a_fault_in_an_edit_is_told_at_its_field(console: Console, made: Made) -> None:
    page = await made.browser.post(f"{made.path}/edit", fields_of(await key_of(console, made), rpm="lots"))
    assert page.status == 400 and 'href="#rpm"' in page.text and 'value="lots"' in page.text


async def test_rotation_shows_a_new_secret_once(console: Console, made: Made) -> None:
    page = await made.browser.get(f"{made.path}/rotate")
    intent = re.search(r'name="intent" value="([^"]+)"', page.text)
    assert intent
    fields = {"grace_period": "1h", "intent": intent[1]}
    page = await made.browser.post(f"{made.path}/rotate", fields)
    assert re.search(r"ahk_[0-9A-Za-z]{49}", page.text) and "stays valid for 1 hour." in page.text
    again = await made.browser.post(f"{made.path}/rotate", fields)
    assert not re.search(r"ahk_[0-9A-Za-z]{49}", again.text)
    assert "was shown" not in again.text and f'href="{made.path}/rotate"' in again.text
    key = await key_of(console, made)
    assert [secret.state for secret in key.secrets] == ["current", "retiring"]
    page = await made.browser.get(made.path)
    assert "Not yet safe to end the overlap." in page.text and "has not been used yet" in page.text


@pytest.mark.parametrize(("grace", "words"), [("24h", "for 24 hours."), ("2h", "for 2 h."), ("0s", "")])
async def test_an_overlap_is_told_in_the_words_of_the_form(made: Made, grace: str, words: str) -> None:
    page = await made.browser.post(f"{made.path}/rotate", {"grace_period": grace, "intent": "x"})
    assert ("The old secret stays valid" in page.text) == bool(words) and words in page.text


@pytest.mark.parametrize(
    ("disabled", "left", "told"),
    [
        (True, 1e9, "The key is disabled: it is refused until you enable it."),
        (False, -1.0, "The key has expired: it is refused until you edit it"),
        (False, 3600.0, "stays valid for as long as the key."),
    ],
)
async def test_a_rotation_promises_nothing_that_the_key_does_not_keep(
    console: Console, made: Made, disabled: bool, left: float, told: str
) -> None:
    end = console.clock() + left
    await console.services.keys.update(made.key_id, lambda key: replace(key, disabled=disabled, expires_at=end))
    page = await made.browser.post(f"{made.path}/rotate", {"grace_period": "24h", "intent": "x"})
    assert told in page.text and "for 24 hours" not in page.text


async def rotated(console: Console, made: Made) -> str:
    """The key with an overlap; where its old secret is ended."""
    await made.browser.post(f"{made.path}/rotate", {"grace_period": "1h", "intent": "x"})
    return f"{made.path}/secrets/{(await key_of(console, made)).secrets[1].id}/end"


def hidden(page: Page) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(intent|revision)" value="([^"]+)"', page.text))


async def test_a_key_that_was_rotated_meanwhile_is_not_rotated_again(console: Console, made: Made) -> None:
    one, other = [hidden(await made.browser.get(f"{made.path}/rotate")) for _ in range(2)]
    assert (await made.browser.post(f"{made.path}/rotate", one)).status == 200
    key = await key_of(console, made)
    page = await made.browser.post(f"{made.path}/rotate", {**other, "grace_period": "0s"})
    assert page.status == 409 and "has changed since" in page.text
    assert await key_of(console, made) == key
    assert (await made.browser.post(f"{made.path}/rotate", hidden(page))).status == 200


async def test_a_rotation_that_one_went_back_to_is_not_done_again(console: Console, made: Made) -> None:
    """Browsers keep the page as it was; the same form with another overlap is another request."""
    form = hidden(await made.browser.get(f"{made.path}/rotate"))
    assert (await made.browser.post(f"{made.path}/rotate", {**form, "grace_period": "1h"})).status == 200
    key = await key_of(console, made)
    page = await made.browser.post(f"{made.path}/rotate", {**form, "grace_period": "0s"})
    assert page.status == 409 and "has changed since" in page.text and "Idempotency" not in page.text
    assert await key_of(console, made) == key


async def test_an_overlap_is_ended_after_a_question_that_repeats_the_verdict(console: Console, made: Made) -> None:
    end = await rotated(console, made)
    key = await key_of(console, made)
    page = await made.browser.get(made.path)
    # The way there stands in the verdict, before the table that scrolls.
    assert page.text.index(f'href="{end}"') < page.text.index('aria-label="Secrets"')
    page = await made.browser.get(end)
    assert "End the old secret of “Support bot”?" in page.text and key.secrets[1].hint in page.text and "made no request" in page.text
    assert "Not yet safe to end the overlap." in page.text and "has not been used yet" in page.text
    assert re.search(r"<a [^>]*autofocus>Cancel", page.text)
    assert [secret.state for secret in (await key_of(console, made)).secrets] == ["current", "retiring"]
    page = await made.browser.post(end, {"reason": "changed over"})
    assert page.location == f"{made.path}?done=secret-ended"
    assert [secret.state for secret in (await key_of(console, made)).secrets] == ["current", "revoked"]
    events = [sealed.event for sealed in (await console.services.audit.query(Filter(), 1)).events]
    assert (events[0].action, events[0].reason) == ("api_key.secret_revoked", "changed over")


async def test_nobody_is_asked_about_a_secret_that_cannot_be_ended(console: Console, made: Made) -> None:
    end = await rotated(console, made)
    current, old = (await key_of(console, made)).secrets
    assert (await made.browser.get(end.replace(old.id, current.id))).location == made.path
    await made.browser.post(end)
    assert (await made.browser.get(end)).location == made.path
    assert end not in (await made.browser.get(made.path)).text


async def test_a_revoked_key_s_secrets_are_valid_no_longer(console: Console, made: Made) -> None:
    end = await rotated(console, made)
    assert "as long as the key" in (await made.browser.get(made.path)).text
    await made.browser.post(f"{made.path}/revoke")
    page = (await made.browser.get(made.path)).text
    secrets = page[page.index('aria-label="Secrets"') : page.index("</table>", page.index('aria-label="Secrets"'))]
    assert "as long as the key" not in secrets and "in 59 min" not in secrets and "in 1 h" not in secrets
    assert "the overlap" not in page
    assert (await made.browser.get(end)).location == made.path


async def test_disable_and_enable(console: Console, made: Made) -> None:
    assert (await made.browser.post(f"{made.path}/disable")).location == f"{made.path}?done=disabled"
    assert (await key_of(console, made)).disabled and ">Enable<" in (await made.browser.get(made.path)).text
    await made.browser.post(f"{made.path}/enable")
    assert not (await key_of(console, made)).disabled
    assert (await actions(console))[:2] == ["api_key.enabled", "api_key.disabled"]


async def test_a_throttled_key_can_be_disabled_without_being_let_go_first(console: Console, made: Made) -> None:
    throttled = console.clock() + 3600
    await console.services.keys.update(made.key_id, lambda key: replace(key, throttled_until=throttled))
    page = await made.browser.get(made.path)
    assert ">Enable<" in page.text and ">Disable<" in page.text
    await made.browser.post(f"{made.path}/disable")
    page = await made.browser.get(made.path)
    assert ">Enable<" in page.text and ">Disable<" not in page.text


async def test_an_unused_key_is_revoked_with_a_click_and_a_used_one_by_its_name(console: Console, made: Made) -> None:
    page = await made.browser.get(f"{made.path}/revoke")
    assert "made no request in the last 24 hours" in page.text and "typed_name" not in page.text
    await console.fold(*[request(made.key_id, time=console.clock() - 1) for _ in range(3)])
    page = await made.browser.get(f"{made.path}/revoke")
    assert "3 requests in the last 24 hours" in page.text
    assert re.search(r"<a [^>]*autofocus>Cancel", page.text)
    for typed in ("", "support bot", "Support bot 2"):
        page = await made.browser.post(f"{made.path}/revoke", {"typed_name": typed})
        assert page.status == 400 and (await key_of(console, made)).revoked_at is None
    page = await made.browser.post(f"{made.path}/revoke", {"typed_name": "Support bot", "reason": "left"})
    assert page.location == f"{made.path}?done=revoked"
    assert (await key_of(console, made)).revoked_at is not None
    events = [sealed.event for sealed in (await console.services.audit.query(Filter(), 1)).events]
    assert (events[0].action, events[0].reason, events[0].actor.type) == ("api_key.revoked", "left", "session")
    assert ">Rotate<" not in (await made.browser.get(made.path)).text
    assert (await made.browser.post(f"{made.path}/rotate", {"grace_period": "0s"})).status == 409


async def test_a_mistyped_name_leaves_the_reason(console: Console, made: Made) -> None:
    await console.fold(request(made.key_id, time=console.clock() - 1))
    page = await made.browser.post(f"{made.path}/revoke", {"typed_name": "Suport bot", "reason": 'left "for" <good>'})
    assert page.status == 400 and (await key_of(console, made)).revoked_at is None
    assert re.search(r'id="reason"[^>]*value="left &#34;for&#34; &lt;good&gt;"', page.text)
    # The name is asked anew: it is there so that a hand has to write it.
    assert re.search(r'id="typed_name"[^>]*value=""[^>]* autofocus', page.text) and page.text.count("autofocus") == 1
    assert page.text.count("Type the name exactly") == 1


@pytest.mark.parametrize("reason", ["tab\there", "evil\u202egnp"])
async def test_a_refused_reason_is_told_at_its_field(console: Console, made: Made, reason: str) -> None:
    end = await rotated(console, made)
    for path in (end, f"{made.path}/revoke"):
        page = await made.browser.post(path, {"reason": reason})
        assert page.status == 400 and f'value="{reason}"' in page.text
        assert re.search(r'id="reason"[^>]*aria-invalid="true"', page.text) and page.text.count("autofocus") == 1
        assert "Does not have the right form: Why, for the audit log; up to 500 printable characters." in page.text
    key = await key_of(console, made)
    assert key.revoked_at is None and key.secrets[1].state == "retiring"


async def test_an_edit_leaves_what_the_form_does_not_show_whole(console: Console, made: Made) -> None:
    shape = replace(
        await key_of(console, made), name="odd ", expires_at=1_999_999_999.25, tags=("a,b", "c"), allowed_models=("none",), disabled=True
    )
    key = (await console.services.keys.create(shape)).key
    page = await made.browser.get(f"{HOME}/{key.id}/edit")
    fields = vars(KeyForm.of(key_object(key, None, 0.0))) | {"revision": "1", "owner": "new"}
    assert 'value="2033-05-18T03:33"' in page.text and fields["tags"] == "a,b, c"
    assert (await made.browser.post(f"{HOME}/{key.id}/edit", fields)).location == f"{HOME}/{key.id}?done=changed"
    after = await console.services.keys.get(key.id)
    assert after == replace(key, owner="new", revision=2)


async def test_the_name_to_type_is_the_one_that_is_seen(console: Console, made: Made) -> None:
    key_id = (await console.services.keys.create(Key(id="", name="two  words\u200b", created_at=0.0))).key.id
    await console.fold(request(key_id, time=console.clock() - 1))
    path = f"{HOME}/{key_id}/revoke"
    assert (await made.browser.post(path, {"typed_name": "twowords"})).status == 400
    assert (await made.browser.post(path, {"typed_name": "two words"})).status == 303


async def test_an_accent_is_typed_as_a_keyboard_gives_it(console: Console, made: Made) -> None:
    key_id = (await console.services.keys.create(Key(id="", name=unicodedata.normalize("NFD", "Café"), created_at=0.0))).key.id
    await console.fold(request(key_id, time=console.clock() - 1))
    assert (await made.browser.post(f"{HOME}/{key_id}/revoke", {"typed_name": "Café"})).status == 303


@pytest.mark.parametrize("revision", ["", "\u00b2", "9" * 5000])
async def test_a_revision_that_is_none_is_an_older_state(console: Console, made: Made, revision: str) -> None:
    assert (await made.browser.post(f"{made.path}/edit", {"name": "other", "revision": revision})).status == 409


def test_the_form_of_a_key_says_what_the_key_is() -> None:
    assert KeyForm({"allowed_ips": "none"}).body(0)["allowed_ips"] == []
    assert KeyForm({}).body(0)["allowed_ips"] is None
