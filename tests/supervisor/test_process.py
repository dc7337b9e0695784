from __future__ import annotations

from sidecar.supervisor.process import child_environment, with_package_path


def test_a_child_gets_how_to_run_and_no_secret() -> None:
    environment = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIDECAR_HUB__ACCESS_KEY": "secret",
        "HUB_ACCESS_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    found = child_environment(environment)
    assert "secret" not in found.values()
    assert {name: found[name] for name in ("PATH", "LC_ALL", "PYTHONDONTWRITEBYTECODE")} == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_a_checkout_is_found_before_what_was_asked_for() -> None:
    found = with_package_path({"PYTHONPATH": "/mine", "X": "1"})
    assert found["X"] == "1"
    assert found["PYTHONPATH"].endswith("/mine")
