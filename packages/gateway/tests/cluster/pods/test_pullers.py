import asyncio

from enterprise_gateway.cluster.pods.pullers import nodes_with, puller_state
from enterprise_gateway.cluster.services import ClusterOptions, ClusterServices
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway_common import labels
from enterprise_gateway_common.node_images import MAXIMUM_BYTES, NODE_IMAGES_ANNOTATION, NodeImages, encode_node_images

IMAGE = "docker.io/elyra/kernel-py:1"


def pod(name, annotation=None, node="one"):
    annotations = {} if annotation is None else {NODE_IMAGES_ANNOTATION: annotation}
    return {"metadata": {"namespace": "kip", "name": name, "uid": name, "annotations": annotations}, "spec": {"nodeName": node}}


def told(node, state):
    return encode_node_images(NodeImages(node, {IMAGE: state}))


def test_a_puller_tells_of_its_node():
    assert puller_state(pod("a", told("one", "present"))).images == NodeImages("one", {IMAGE: "present"})


def test_a_puller_that_says_nothing_or_nothing_known_leaves_its_node_unknown():
    for annotation in (None, "", "{}", '{"v": 99}'):
        assert puller_state(pod("a", annotation)).images is None


def test_a_pod_that_speaks_of_another_node_than_its_own_is_not_heard():
    for node in ("two", None):
        assert puller_state(pod("a", told("one", "present"), node)).images is None


def test_an_annotation_of_more_than_the_bound_is_not_heard():
    text = told("one", "present")
    assert puller_state(pod("a", text.ljust(MAXIMUM_BYTES))).images is not None
    assert puller_state(pod("a", text.ljust(MAXIMUM_BYTES + 1))).images is None


def test_only_nodes_where_the_image_is_present_have_it():
    states = [
        puller_state(pod(node, told(node, state), node)) for node, state in (("b", "present"), ("c", "pulling"), ("a", "present"))
    ]
    assert nodes_with(IMAGE, {state.key: state for state in states}) == ["a", "b"]


def test_pullers_of_other_namespaces_than_the_named_are_not_heard(cluster_type):
    async def scenario():
        async with cluster_type() as cluster:
            for namespace in ("kip", "kernels"):
                document = pod("a", told("one", "present"))
                own = {labels.APP: labels.APP_VALUE, labels.COMPONENT: labels.COMPONENT_PULLER}
                document["metadata"] |= {"namespace": namespace, "labels": own}
                await cluster.api.put("pods", document, "ADDED")
            options = ClusterOptions(puller_namespaces=("kip",))
            services = ClusterServices(client=cluster.client, policy=PolicyFile(None), options=options)
            services.start()
            await services.pullers.wait_synced(Deadline(5))
            heard = list(services.pullers.objects)
            await services.stop()
            return heard

    assert asyncio.run(scenario()) == [("kip", "a")]
