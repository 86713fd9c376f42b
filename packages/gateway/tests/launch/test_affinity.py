from enterprise_gateway.launch.affinity import prefer_nodes

WISHES = "preferredDuringSchedulingIgnoredDuringExecution"


def wished(spec):
    return [
        wish["preference"]["matchFields"][0]["values"][0]
        for wish in spec["affinity"]["nodeAffinity"][WISHES]
        if "matchFields" in wish["preference"]
    ]


def test_every_node_that_has_the_image_is_wished_for_and_none_is_demanded():
    spec = prefer_nodes({"containers": []}, ["one", "two"])
    assert wished(spec) == ["one", "two"]
    assert set(spec["affinity"]["nodeAffinity"]) == {WISHES}


def test_what_the_template_wants_stays():
    own = {"weight": 1, "preference": {"matchExpressions": []}}
    demanded = {"nodeSelectorTerms": []}
    affinity = {
        "nodeAffinity": {WISHES: [own], "requiredDuringSchedulingIgnoredDuringExecution": demanded},
        "podAntiAffinity": {"x": 1},
    }
    spec = prefer_nodes({"affinity": affinity}, ["one"])
    assert spec["affinity"]["nodeAffinity"][WISHES][0] == own
    assert spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == demanded
    assert spec["affinity"]["podAntiAffinity"] == {"x": 1}


def test_a_pod_without_such_a_node_or_bound_to_one_stays_as_it_is():
    assert prefer_nodes({"containers": []}, []) == {"containers": []}
    assert prefer_nodes({"nodeName": "three"}, ["one"]) == {"nodeName": "three"}
    assert "affinity" not in prefer_nodes({}, [f"node{number}" for number in range(51)])
