"""The static manifest: whole for `kubectl apply`, found by its labels, and without a secret that everybody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

_FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "enterprise-gateway.yaml"


@pytest.fixture
def objects() -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(_FILE.read_text()) if each]


def test_every_object_is_found_by_the_labels_of_the_commands_at_its_head(objects: list[dict[str, Any]]) -> None:
    wanted = {"app": "enterprise-gateway", "app.kubernetes.io/instance": "enterprise-gateway"}.items()

    assert len(objects) > 15
    assert [each["metadata"]["name"] for each in objects if not wanted <= each["metadata"]["labels"].items()] == []


def test_it_makes_the_namespace_of_all_its_objects_first(objects: list[dict[str, Any]]) -> None:
    namespace = objects[0]

    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", "enterprise-gateway")
    assert {each["metadata"].get("namespace", "enterprise-gateway") for each in objects} == {"enterprise-gateway"}


def test_it_holds_no_token_and_needs_one(objects: list[dict[str, Any]]) -> None:
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (token,) = [
        each for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"] if each["name"] == "EG_AUTH_TOKEN"
    ]

    assert not [each for each in objects if each["kind"] == "Secret"]
    assert token["valueFrom"] == {"secretKeyRef": {"key": "token", "name": "enterprise-gateway-token"}}
    assert "secret generic enterprise-gateway-token" in _FILE.read_text()


def test_nothing_of_it_says_that_helm_looks_after_it() -> None:
    assert "helm" not in _FILE.read_text().partition("apiVersion")[2].lower()
