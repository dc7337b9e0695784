"""`keys create` and `keys rotate`: the two commands that show a secret, each once."""

from __future__ import annotations

import argparse
from typing import Any

from sidecar.cli.admin.address import Address
from sidecar.cli.admin.keys.fields import add_options, members
from sidecar.cli.admin.output import facts
from sidecar.cli.admin.selection import KEY_HELP, find_key, key_path
from sidecar.cli.admin.session import Session, add_command, configured
from sidecar.cli.admin.text import is_duration, moment, parse_time, printable
from sidecar.cli.demo_text import call as demo_call
from sidecar.cli.demo_text import web_address
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.settings.values import Listen
from sidecar.supervisor.listeners import fault_of

PROXY_VARIABLE = "SIDECAR_PROXY_URL"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REPEATED = "this call was made before, and its secret is shown only once; rotate the key if the secret is lost."


def add(subparsers: Any) -> None:
    """Add both commands."""
    parser = add_command(subparsers, "create", create, "generate a new key; its secret is shown once")
    parser.add_argument("--name", required=True, help="what the key is for, one key for each application")
    add_options(parser)
    _add_once(parser)
    parser = add_command(subparsers, "rotate", rotate, "give a key a new secret; the old one stays valid for the grace period")
    parser.add_argument("key", metavar="KEY", help=KEY_HELP)
    parser.add_argument("--grace", default="24h", metavar="DURATION", help="how long old secrets stay valid; 0s ends all at once (24h)")
    _add_once(parser)


def create(args: argparse.Namespace, session: Session) -> int:
    """Create a key and show its secret."""
    if args.idempotency_key is not None and is_duration(args.expires or ""):
        raise CommandError("--expires: with --idempotency-key give a date and time; a duration means another moment each time.", WRONG_USE)
    body = members(args, session.now(), {})
    answer = session.api.send("POST", "/keys", body, headers=_idempotency(args))
    if args.json:
        session.document(answer)
        return 0
    key = answer["key"]
    session.say(f"Created the key {printable(key['name'])} ({key['id']}), which {_expiry(key, session)}.")
    _reveal(answer, session)
    return 0


def rotate(args: argparse.Namespace, session: Session) -> int:
    """Rotate a key and show its new secret."""
    if not is_duration(args.grace):
        raise CommandError(f"--grace: {args.grace!r} is not a duration; write a number and a unit (0s, 30m, 24h, 7d).", WRONG_USE)
    key = find_key(session.api, args.key)
    answer = session.api.send("POST", key_path(key["id"], "rotate"), {"grace_period": args.grace}, headers=_idempotency(args))
    if args.json:
        session.document(answer)
        return 0
    rotated = answer["key"]
    session.say(f"Rotated the key {printable(rotated['name'])} ({key['id']}).")
    if rotated["status"] == "expired":
        session.say(f"But it {_expiry(rotated, session)}.")
    elif rotated["status"] == "disabled":
        session.say(f"But it is disabled: calls are refused until you `sidecar keys enable {key['id']}`.")
    _reveal(answer, session)
    retiring = [secret for secret in rotated["secrets"] if secret["state"] == "retiring"]
    for secret in retiring:
        # No secret opens a key that has ended.
        end = min(filter(None, (secret["expires_at"], rotated["expires_at"])), key=parse_time)
        session.say(f"The old secret {secret['id']} is valid until {moment(end, session.now())}.")
        session.say(f"To end it now:     sidecar keys revoke {key['id']} --secret {secret['id']}")
    if retiring:
        session.say(f"Who still uses it: sidecar keys show {key['id']}")
    return 0


def _add_once(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--idempotency-key", metavar="TEXT", help="makes the call safe to repeat: one text, one secret")


def _idempotency(args: argparse.Namespace) -> dict[str, str]:
    if args.idempotency_key is None:
        return {}
    if not args.idempotency_key.isascii() or not args.idempotency_key.isprintable():
        raise CommandError("--idempotency-key: use printable ASCII characters only.", WRONG_USE)
    return {"Idempotency-Key": args.idempotency_key}


def _expiry(key: dict[str, Any], session: Session) -> str:
    if key["expires_at"] is None:
        return "never expires"
    when = moment(key["expires_at"], session.now())
    if parse_time(key["expires_at"]) > session.now():
        return f"expires {when}"
    return f"has expired already, {when}: calls are refused until you `sidecar keys update {key['id']} --expires 90d`"


def _reveal(answer: dict[str, Any], session: Session) -> None:
    secret = answer["secret"]
    if secret is None:
        session.say(f"No secret: {_REPEATED}")
        return
    session.say()
    session.say(f"  {secret}")
    session.say()
    session.say("Store it now: it is not kept anywhere and cannot be shown again.")
    call = _call(secret, session)
    if call is None:
        session.say(f"Set {PROXY_VARIABLE} to the address that applications use, and a call to paste is printed here.")
        return
    for line in facts([("Try it:", call)]):
        session.say(line)


def _call(secret: str, session: Session) -> str | None:
    """The hub documentation's own call, with this key; None when nobody knows where the data plane is.

    A guess would be worse than nothing: whatever listens there would be handed the new secret.
    """
    settings = configured(session.environment)
    base = session.environment.get(PROXY_VARIABLE)
    listen = settings.proxy.listen
    # `sidecar authz` serves another address, and the configuration does not tell which of the two runs.
    if base is None and not listen.path and _is_of(settings.admin.listen, session.api.address) and fault_of(listen) is not None:
        base = web_address(listen, "http" if settings.proxy.tls is None else "https")
    return None if not base else demo_call(base.rstrip("/"), settings.hub.profile, secret)


def _is_of(listen: Listen, where: Address) -> bool:
    """Whether the sidecar that the commands speak to is the one that the configuration here describes."""
    if where.socket or listen.path:
        return where.socket == listen.path
    return where.port == listen.port and (where.host in _LOOPBACK or where.host == listen.host)
