from __future__ import annotations

import pytest

from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.observer import Observer
from tests.control.anomaly.life import AWAY, HOME, KEY, Life, refused, served


def test_the_usual_callers_raise_nothing() -> None:
    assert Life().told == []


def test_a_new_network_is_a_notice_with_its_name() -> None:
    life = Life()
    life.see(served(life.later(60), client=AWAY))
    assert life.signals == {"new_network"}
    assert life.memory.raised["new_network"].evidence == "first use from 203.0.113.0/24"
    assert life.told == [(KEY, "notice")]


@pytest.mark.parametrize(
    ("change", "signal"),
    [({"agent": "curl/8"}, "agent_change"), ({"model": "model-x"}, "new_model"), ({"route": "images"}, "new_route")],
)
def test_the_known_network_vouches_for_what_is_new(change: dict[str, str], signal: str) -> None:
    life = Life()
    for _ in range(20):
        life.see(served(life.later(10), **change))
    assert life.signals == {signal}
    assert life.level == "notice"


@pytest.mark.parametrize("change", [{"agent": "curl/8"}, {"model": "model-x"}, {"route": "images"}])
def test_what_only_a_new_network_uses_makes_it_a_stranger_within_a_minute(change: dict[str, str]) -> None:
    life = Life()
    for _ in range(3):
        life.see(served(life.later(10), client=AWAY, **change))
    assert "stranger" not in life.signals
    for _ in range(4):
        life.see(served(life.later(10), 3, client=AWAY, **change))
    assert {"new_network", "stranger"} <= life.signals
    assert life.level == "page"
    assert life.told[-1] == (KEY, "page")


def test_a_new_version_is_not_a_new_program() -> None:
    life = Life()
    life.see(served(life.later(10), agent="openai-python/2.0"))
    assert life.signals == set()


def test_a_maxmind_file_makes_no_known_network_new() -> None:
    class Geo:
        def get(self, address: str) -> object:
            return {"autonomous_system_number": int(address.split(".")[0])}

    life = Life()
    memory = life.memory
    known = dict(memory.networks.sightings)
    life.observer = Observer(Networks(b"salt", geo=Geo()), str)
    life.observer.admit(KEY, memory)
    # The second is a neighbour whom only the file knows to be one.
    for client in (HOME, "198.18.0.1"):
        life.see(served(life.later(600), client=client))
    assert life.signals == set()
    assert list(memory.networks.sightings.values()) == list(known.values()) and memory.networks.sightings.keys() != known.keys()
    life.see(served(life.later(600), client=AWAY))
    assert life.signals == {"new_network"}


def test_a_new_network_settles_when_it_behaves() -> None:
    life = Life()
    for _ in range(20):
        life.see(served(life.later(600), 10, client=AWAY))
    assert life.signals == set()
    assert life.level == "notice"


def test_a_stranger_does_not_settle() -> None:
    life = Life()
    for _ in range(20):
        life.see(served(life.later(600), 10, client=AWAY, agent="curl/8"))
    assert {"new_network", "stranger"} <= life.signals


def test_a_patient_stranger_is_not_believed_after_two_hours() -> None:
    life = Life()
    for request in range(45):
        life.see(served(life.later(600)))
        if request % 4 == 0:
            # One request in forty minutes: no ten within two hours.
            life.see(served(life.later(1), client=AWAY, agent="curl/8"))
    assert {"new_network", "agent_change", "stranger"} <= life.signals
    assert life.level == "page"


def test_a_new_network_settles_beside_a_program_for_which_a_known_one_vouches() -> None:
    life = Life()
    for _ in range(20):
        life.see(served(life.later(300), client=AWAY), served(life.later(300), agent="curl/8"))
    assert life.signals == {"agent_change"}


def test_a_roaming_key_says_nothing_of_one_more_network_unless_it_brings_another_program() -> None:
    life = Life()
    for index in range(6):
        life.see(served(life.later(DAY // 2), client=f"192.0.{index}.1"))
    life.idle(8 * HOUR)
    life.idle(DAY)
    life.see(served(life.later(60), client="192.0.100.1"))
    assert "new_network" not in life.signals
    life.see(served(life.later(60), client="192.0.101.1", agent="curl/8"))
    assert {"new_network", "agent_change"} <= life.signals


def test_a_busy_roaming_key_roams() -> None:
    """A scanner or crawler that meets a network a minute: what began just now says nothing, what began before it does."""
    life = Life()
    for index in range(30):
        life.see(served(life.later(60), client=f"192.0.{index}.1"))
    assert life.memory.networks.begun_since(life.now - 600, life.now) == 8
    life.memory.acknowledge(life.now)
    life.see(served(life.later(60), client="192.0.100.1"))
    assert "new_network" not in life.signals


def test_a_page_names_the_network_and_the_model_that_came_last() -> None:
    """The first may be the owner's: by its name alone the theft would be waved through."""
    life = Life()
    life.see(served(life.later(60), client="192.0.2.1", model="model-b"))
    life.later(HOUR)
    life.see(*(served(life.later(10), 3, client=AWAY, agent="curl/8", model="model-c") for _ in range(6)))
    (episode,) = life.observer.episodes.open.values()
    texts = {evidence.signal: evidence.text for evidence in episode.signals}
    assert episode.level == "page"
    assert texts["new_network"] == "first use from 192.0.2.0/24, 203.0.113.0/24"
    assert texts["new_model"] == "model never used before: model-b, model-c"


def test_many_new_networks_within_minutes_page() -> None:
    life = Life()
    for index in range(8):
        life.see(served(life.later(20), client=f"192.0.{index}.1"))
    assert {"new_network", "network_fanout"} <= life.signals
    assert life.level == "page"


def test_a_key_that_always_fans_out_does_not() -> None:
    life = Life(days=1)
    for _ in range(6 * 24):
        for index in range(12):
            life.see(served(life.later(50), client=f"192.0.{index}.1"))
    life.later(DAY)
    for index in range(12, 24):
        life.see(served(life.later(50), client=f"192.0.{index}.1"))
    assert "network_fanout" not in life.signals


def test_models_tried_one_after_the_other_are_an_enumeration_also_when_refused() -> None:
    life = Life()
    life.see(served(life.later(10), model="model-b"), refused(life.later(10), "model_not_allowed", model="model-c"))
    assert "enumeration" not in life.signals
    life.see(refused(life.later(10), "model_not_allowed", model="model-d"))
    assert "enumeration" in life.signals


def test_models_that_the_hub_refuses_are_tried_and_one_by_itself_is_not_news() -> None:
    life = Life()
    life.see(served(life.later(10), 0, model="misspelt"))
    life.see(served(life.later(900), 0, model="model-b"), served(life.later(10), model="model-b"))
    life.see(served(life.later(10), 0, model="model-c"))
    assert life.signals == {"new_model"}
    life.see(served(life.later(10), 0, model="model-d"))
    assert life.signals == {"new_model", "enumeration"}
    assert life.memory.raised["enumeration"].evidence == "3 models tried for the first time within 10 minutes"


def test_models_of_a_list_that_the_hub_refuses_again_and_again_are_no_enumeration() -> None:
    life = Life()
    for number in range(3 * DAY // HOUR):
        life.see(served(life.later(HOUR), 0, model=f"gone-{number % 8}"))
    for number in range(8):
        life.see(served(life.later(10), 0, model=f"gone-{number}"))
    assert life.told == []


def test_who_is_refused_by_the_hub_is_a_new_network_and_adds_to_no_volume() -> None:
    life = Life()
    requests = life.memory.requests
    for number in range(3):
        life.see(served(life.later(10), 0, client=AWAY, agent="curl/8", model=f"tried-{number}"))
    assert life.signals == {"new_network", "agent_change", "enumeration"}
    assert life.told[-1] == (KEY, "page")
    assert life.memory.requests == requests
    assert life.memory.stranger_requests == 0


def test_a_caller_who_was_refused_at_first_is_met_when_he_is_served() -> None:
    life = Life()
    life.see(served(life.later(10), 0, model="model-b"))
    life.see(served(life.later(10), model="model-b"))
    assert life.signals == {"new_model"}


@pytest.mark.parametrize("models", [8, 16, 20, 30])
@pytest.mark.parametrize("weeks", [1, 4])
def test_an_evaluation_of_many_models_is_news_once(models: int, weeks: int) -> None:
    """Also where more are in use than are remembered: what was forgotten for lack of room is not new."""
    life = Life()
    for run in range(5):
        if run:
            for _ in range(7 * weeks):
                life.see(served(life.later(DAY)))
        for number in range(models):
            life.see(served(life.later(20), model=f"evaluated-{number}"))
        # Neither to the hour nor to the day.
        life.later(DAY + 5 * HOUR)
    assert [level for _, level in life.told].count("warn") == 1


@pytest.mark.parametrize("models", [3, 5, 8])
def test_a_weekly_job_whose_models_the_hub_refuses_is_news_once(models: int) -> None:
    """More are refused than are remembered of them."""
    life = Life()
    for run in range(5):
        for _ in range(7 * min(run, 1)):
            life.see(served(life.later(DAY)))
        for number in range(models):
            life.see(served(life.later(20), 0, model=f"misspelt-{number}"))
        life.later(DAY + 5 * HOUR)
    assert [level for _, level in life.told].count("warn") == 1


def test_what_was_forgotten_long_after_its_last_use_is_no_lack_of_room() -> None:
    life = Life()
    for number in range(16):
        life.see(served(life.later(DAY // 2), model=f"once-{number}"))
    for _ in range(12):
        life.see(served(life.later(4 * DAY), model="model-a"))
    for number in range(4):
        life.see(served(life.later(20), model=f"tried-{number}"))
    assert "enumeration" in life.signals


def test_a_key_that_is_being_built_raises_nothing() -> None:
    life = Life(days=2)
    for index in range(8):
        life.see(served(life.later(10), client=f"192.0.{index}.1", agent=f"agent-{index}", model=f"model-{index}"))
    assert life.signals == set()


def test_after_an_acknowledgement_the_same_network_is_known_and_roaming_is_believed_sooner() -> None:
    life = Life()
    for _ in range(5):
        life.see(served(life.later(10), 3, client=AWAY, agent="curl/8"))
    assert life.level == "page"
    life.memory.acknowledge(life.now)
    for _ in range(5):
        life.see(served(life.later(10), 3, client=AWAY, agent="curl/8"))
    assert life.signals == set()
