"""What a run says: tables, targets, the document and the picture, from samples made up here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import measures, picture, report
from benchmarks.contest import Contest, Outcome, play
from benchmarks.cores import Cores
from benchmarks.load.request import chat
from benchmarks.measures import Entry, Sample
from benchmarks.peers.clientsession import ClientSession
from benchmarks.peers.peer import Peer, Site
from benchmarks.peers.sidecar import Sidecar
from benchmarks.targets import TARGETS, Target

MACHINE = {"processor": "A & B", "cores": "2", "kernel": "6", "python": "3.11", "load": "0.1"}


@pytest.fixture
def peers(tmp_path: Path) -> list[Peer]:
    site = Site(tmp_path, Cores((0,), (1,)), 1, tmp_path)
    return [Sidecar(site), ClientSession(site)]


def contest(peers: list[Peer], measure: measures.Measure) -> Contest:
    entries = [Entry(peer.name, peer, chat().with_keys("key")) for peer in peers]
    return Contest("post", "small POST", measure, entries, "rate", "requests/s", "sidecar")


def sample(rate: float) -> Sample:
    return Sample({"rate": rate, "cpu": 1e6 / rate, "load": 0.5, "p50": 1.0, "p99": 2.0}, {"worker": 1e6 / rate})


def rates(**by_label: list[float]) -> measures.Measure:
    left = {label: iter(values) for label, values in by_label.items()}
    return lambda entry, _: sample(next(left[entry.label]))


def played(peers: list[Peer]) -> dict[str, Outcome]:
    measure = rates(sidecar=[1.0, 300.0, 200.0, 100.0], clientsession=[1.0, 100.0, 100.0, 100.0])
    return {"post": play(contest(peers, measure), 3, 1.0, 0.1, lambda _: None)}


def test_the_warm_up_does_not_count_and_ratios_are_by_round(peers: list[Peer]) -> None:
    outcome = played(peers)["post"]
    assert outcome.figures("sidecar", "rate") == [300.0, 200.0, 100.0]
    assert outcome.ratio("sidecar", "clientsession", "rate").median == 2.0


def test_the_text_has_everybody_and_judges_the_targets(peers: list[Peer]) -> None:
    text = report.text(played(peers), ["a note"])
    assert "aiohttp ClientSession proxy" in text and "- a note" in text
    line = next(line for line in text.splitlines() if "times clientsession" in line)
    assert "2.00" in line and "missed" in line


def test_the_document_is_json_and_the_picture_is_xml(peers: list[Peer]) -> None:
    document = json.loads(json.dumps(report.document(played(peers), MACHINE, {})))
    assert document["contests"][0]["entries"][0]["samples"][0]["figures"]["rate"] == 300.0
    root = ElementTree.fromstring(picture.draw(document))
    assert root.tag.endswith("svg") and "A & B" in "".join(root.itertext())


def test_who_fails_is_out_and_the_others_go_on(peers: list[Peer], capsys: pytest.CaptureFixture[str]) -> None:
    def measure(entry: Entry, _seconds: float) -> Sample:
        if entry.label == "clientsession":
            raise RuntimeError("502s")
        return sample(100.0)

    outcome = play(contest(peers, measure), 2, 1.0, 0.0, lambda _: None)
    assert outcome.failures == {"clientsession": "502s"}
    assert len(outcome.figures("sidecar", "rate")) == 2
    assert "502s" in report.text({"post": outcome}, []) and "502s" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "verdict"), [(250.0, "aim"), (150.0, "floor"), (50.0, "missed")])
def test_a_target_is_judged_by_its_aim_and_its_floor(peers: list[Peer], rate: float, verdict: str) -> None:
    outcome = play(contest(peers, rates(sidecar=[rate], clientsession=[100.0])), 1, 1.0, 0.0, lambda _: None)
    target = Target("", "post", "rate", "clientsession", 1.0, 2.0)
    reached = target.measure({"post": outcome})
    assert reached is not None and target.verdict(reached) == verdict


def test_no_target_is_judged_that_was_not_measured(peers: list[Peer]) -> None:
    assert [target for target in TARGETS if target.measure({})] == []


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.94, "99.9"), (5.0, "5.00"), (0.1234, "0.123"), (-0.5, "-0.5")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text
