"""The manifests of deploy/kubernetes: kustomize builds them, they are what the schemas of Kubernetes allow and no more,
references lead somewhere, and the policies of a careful cluster hold.
"""

from __future__ import annotations

import os
import re
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.control.admin.app import allowed_hosts
from sidecar.control.admin.authentication import host_is_allowed
from sidecar.settings import load
from tests.deploy.proxies import DEPLOY
from tests.support.dockerfile import last_stage
from tests.support.documents import blocks
from tests.support.source import ROOT
from tests.support.tools import missing, require

OVERLAYS = ("sidecar", "gateway")
VERSIONS = ("1.30", "1.33", "1.37")
"""Of Kubernetes: an old one that is still met, and newer ones."""
KINDS = {
    "apps/v1": {"Deployment"},
    "v1": {"Service", "ConfigMap"},
    "networking.k8s.io/v1": {"NetworkPolicy"},
    "policy/v1": {"PodDisruptionBudget"},
    "autoscaling/v2": {"HorizontalPodAutoscaler"},
    "monitoring.coreos.com/v1": {"PodMonitor"},
}


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    kubectl = require("kubectl", install="apt-get install kubernetes-client")
    command = [kubectl, "kustomize", str(DEPLOY / "kubernetes" / "overlays" / request.param)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in manifests if one["kind"] == kind]


def pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = of_kind(manifests, "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_every_object_is_of_a_kind_that_is_served_and_in_the_namespace(manifests: list[dict[str, Any]]) -> None:
    for one in manifests:
        assert one["kind"] in KINDS[one["apiVersion"]]
        assert one["metadata"]["namespace"] == "hub"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_as_its_schema_says(manifests: list[dict[str, Any]], version: str) -> None:
    if find_spec("kubernetes_validate") is None:
        missing("kubernetes-validate", "requirements/dev.txt has it")
    schemas = import_module("kubernetes_validate")
    for one in manifests:
        if one["kind"] == "PodMonitor":
            # The Prometheus operator's own kind.
            continue
        schemas.validate(one, version, strict=True)
    broken = {**of_kind(manifests, "Deployment")[0]}
    broken["spec"] = {**broken["spec"], "replica": 2}
    with pytest.raises(schemas.ValidationError, match="replica"):
        schemas.validate(broken, version, strict=True)


def test_selectors_find_the_pods_and_ports_have_names(manifests: list[dict[str, Any]]) -> None:
    (deployment,) = of_kind(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for container in pod(manifests)["containers"] for port in container.get("ports", [])}
    for service in of_kind(manifests, "Service"):
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        (one,) = of_kind(manifests, kind)
        assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for one in of_kind(manifests, "HorizontalPodAutoscaler"):
        assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] and "replicas" not in deployment["spec"]


def test_the_pod_is_careful(manifests: list[dict[str, Any]]) -> None:
    spec = pod(manifests)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    # The rest of the restricted Pod Security Standard.
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "configMap", "emptyDir", "secret", "projected"}
    for container in spec["containers"]:
        assert not any("hostPort" in port for port in container.get("ports", []))
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"]["drop"] == ["ALL"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys() and "memory" in container["resources"]["limits"]
        assert not container["image"].endswith(":latest") and ":" in container["image"]
        assert not any("KEY" in one["name"] or "PASSWORD" in one["name"] for one in container.get("env", [])), "secrets come as files"
    (sidecar,) = (container for container in spec["containers"] if container["name"] == "sidecar")
    assert sidecar["securityContext"]["readOnlyRootFilesystem"]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= sidecar.keys()
    assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz" and sidecar["livenessProbe"]["httpGet"]["path"] == "/livez"
    mounted = {mount["name"] for mount in sidecar["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    (secret,) = (volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    assert not secret["defaultMode"] & 0o007


def test_a_pod_outlives_a_control_process_that_is_replaced(manifests: list[dict[str, Any]]) -> None:
    """Probes are answered a second or two late then, the first with 503, and the data plane goes on."""
    sidecar = next(one for one in pod(manifests)["containers"] if "readinessProbe" in one)
    for name in ("livenessProbe", "readinessProbe"):
        probe = sidecar[name]
        assert probe.get("failureThreshold", 3) >= 3 and probe.get("periodSeconds", 10) >= 2, name


def test_a_pod_that_ends_finishes_what_it_has(manifests: list[dict[str, Any]]) -> None:
    spec, drain = pod(manifests), load(None, {}).proxy.drain_timeout
    pauses = {container["name"]: container["lifecycle"]["preStop"]["sleep"]["seconds"] for container in spec["containers"]}
    assert pauses["sidecar"] >= 5, "balancers hear later than the sidecar that it ends, and it refuses connections from then on"
    assert spec["terminationGracePeriodSeconds"] >= pauses["sidecar"] + drain + 20
    if "hub" in pauses:
        assert spec["terminationGracePeriodSeconds"] > pauses["hub"] >= pauses["sidecar"] + drain, "it answers what is open"


def test_the_hub_is_reached_through_the_sidecar_alone(manifests: list[dict[str, Any]]) -> None:
    services = [port["targetPort"] for service in of_kind(manifests, "Service") for port in service["spec"]["ports"]]
    assert set(services) == {"proxy", "admin"}
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "NetworkPolicy")}
    names = [container["name"] for container in pod(manifests)["containers"]]
    if "hub" in names:
        (hub,) = (container for container in pod(manifests)["containers"] if container["name"] == "hub")
        assert {"name": "HOST", "value": "127.0.0.1"} in hub["env"] and "ports" not in hub
        allowed = {port["port"] for rule in policies["hub"]["ingress"] for port in rule["ports"]}
        assert 3000 not in allowed
    else:
        (rule,) = policies["hub"]["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "hub-gateway"}}}]
    sidecars = policies["hub-gateway" if "hub-gateway" in policies else "hub"]
    open_to_all = [port["port"] for rule in sidecars["ingress"] if "from" not in rule for port in rule["ports"]]
    assert open_to_all == [8080]


def test_rules_and_dashboards_find_what_is_scraped(manifests: list[dict[str, Any]]) -> None:
    """They ask for the job `sidecar`; by itself a PodMonitor names the job after itself."""
    (monitor,) = of_kind(manifests, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "job", "replacement": "sidecar"} in endpoint["relabelings"]


def test_a_volume_that_lasts_stays_private(manifests: list[dict[str, Any]]) -> None:
    """Without it, each mount opens all that is in it to its group, and the sidecar does not start on such a data_dir."""
    assert pod(manifests)["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_the_configuration_is_understood(manifests: list[dict[str, Any]], tmp_path: Any) -> None:
    (config,) = of_kind(manifests, "ConfigMap")
    for name in ("hub-access-key", "store-password"):
        (tmp_path / name).write_text("secret\n")
    file = tmp_path / "sidecar.yaml"
    file.write_text(config["data"]["sidecar.yaml"].replace("/secrets", str(tmp_path)))
    (sidecar,) = (container for container in pod(manifests)["containers"] if container["name"] == "sidecar")
    # The image's own variables outrank the file, those of the manifest outrank them.
    given = {one["name"]: one["value"] for one in sidecar["env"]}
    settings = load(file, last_stage(ROOT / "Dockerfile").environment | given)
    # By a variable, so that each command in the pod finds it.
    mounts = {mount["mountPath"] for mount in sidecar["volumeMounts"]}
    assert given["SIDECAR_CONFIG"] == "/config/sidecar.yaml" and "/config" in mounts and sidecar["args"] == ["serve"]
    limit = int(sidecar["resources"]["limits"]["memory"].removesuffix("Mi")) << 20
    tmp = sum(
        int(v["emptyDir"]["sizeLimit"].removesuffix("Mi")) << 20 for v in pod(manifests)["volumes"] if v.get("emptyDir", {}).get("medium")
    )
    assert settings.proxy.worker_count == 1 and limit - tmp - settings.proxy.bounds.inspected_total >= 256 << 20, "room for the processes"
    assert settings.store.url.reveal().startswith("redis+sentinel://") and settings.keys.pepper_file == f"{tmp_path}/pepper"
    for service in of_kind(manifests, "Service"):
        if any(port["targetPort"] == "admin" for port in service["spec"]["ports"]):
            name, names = service["metadata"]["name"], allowed_hosts(settings.admin)
            namespace = service["metadata"]["namespace"]
            assert names is not None
            for host in (name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"):
                assert host_is_allowed(f"{host}:8081", names)
    # A volume belongs to root, who shares it with the group: what is private must be below it, made by the sidecar.
    (data,) = (mount["mountPath"] for mount in sidecar["volumeMounts"] if mount["name"] == "data")
    assert settings.data_dir.startswith(f"{data}/")
    assert str(settings.hub.url).startswith(
        "http://127.0.0.1:3000" if "hub" in [c["name"] for c in pod(manifests)["containers"]] else "http://hub:3000"
    )


def test_commands_of_the_page_run_in_the_sidecar_s_container(manifests: list[dict[str, Any]]) -> None:
    """In the overlay `sidecar` it is the second one, and kubectl takes the first unless it is told."""
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    commands = re.findall(r"^kubectl .* exec .*$", text, re.MULTILINE)
    assert commands and all(" -c sidecar -- " in command for command in commands)
    (sidecar,) = (container for container in pod(manifests)["containers"] if container["name"] == "sidecar")
    given = {one["name"]: one["value"] for one in sidecar["env"]}
    assert any(command.endswith(f" cat {given['SIDECAR_DATA_DIR']}/admin-token") for command in commands)
    services = {service["metadata"]["name"] for service in of_kind(manifests, "Service")}
    assert services & set(re.findall(r"service/([a-z-]+)", text))


def test_the_page_makes_objects_of_the_rules(tmp_path: Path) -> None:
    (program,) = [block.text for block in blocks(ROOT / "docs" / "scaling.md") if "PrometheusRule" in block.text]
    kubectl = 'kubectl() { cat > "$(mktemp -p "$RULES")"; }\n'
    bash = require("bash", install="apt-get install bash")
    done = subprocess.run(
        [bash, "-euc", kubectl + program], cwd=ROOT, env={**os.environ, "RULES": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = sorted((yaml.safe_load(file.read_text()) for file in tmp_path.iterdir()), key=lambda one: str(one["metadata"]["name"]))
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    assert [(one["kind"], one["metadata"]["name"]) for one in made] == [("PrometheusRule", file.stem) for file in files]
    assert [one["spec"] for one in made] == [yaml.safe_load(file.read_text()) for file in files]
