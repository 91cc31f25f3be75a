"""The manifests of examples/cluster are valid for Kubernetes, and give options that the commands have."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.support.places import ROOT

MANIFESTS = ROOT / "examples" / "cluster"
VALIDATED = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="needs kubernetes-validate from PyPI"
)


def resources(name: str) -> list[dict[str, Any]]:
    """Return the resources of a manifest. The templates of a resource that Kubernetes does not know stand for it."""
    import yaml  # comes with kubernetes-validate

    found = []
    for one in yaml.safe_load_all((MANIFESTS / name).read_text()):
        if one["apiVersion"] != "ray.io/v1":
            found.append(one)
            continue
        groups = [one["spec"]["headGroupSpec"], *one["spec"]["workerGroupSpecs"]]
        found += [
            {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]}
            for group in groups
        ]
    return found


@VALIDATED
@pytest.mark.parametrize("name", ["members.yaml", "ray.yaml"])
def test_a_manifest_is_valid(name: str) -> None:
    """By the schemas of Kubernetes, without fields that it does not know."""
    import kubernetes_validate

    given = resources(name)
    assert len(given) >= 2
    for resource in given:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


@VALIDATED
def test_a_wrong_manifest_would_be_noticed() -> None:
    """The control."""
    import kubernetes_validate

    [_, members] = resources("members.yaml")
    members["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(members, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.process
def test_the_manifests_give_options_that_there_are() -> None:
    """Each is in the help of its command."""
    for name, command in (("members.yaml", "serve"), ("ray.yaml", "cluster")):
        given = set(re.findall(r"(--[a-z][a-z-]+)", (MANIFESTS / name).read_text().partition("spex-shards")[2]))
        assert "--store" in given
        shown = subprocess.run(
            [sys.executable, "-m", "spex_shards", command, "--help"], capture_output=True, text=True, check=True,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert given <= set(re.findall(r"(--[a-z][a-z-]+)", shown.stdout)), name
