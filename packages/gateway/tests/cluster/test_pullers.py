from enterprise_gateway.cluster.pullers import nodes_with, puller_state
from enterprise_gateway_common.node_images import NODE_IMAGES_ANNOTATION, NodeImages, encode_node_images

IMAGE = "docker.io/elyra/kernel-py:1"


def pod(name, annotation=None):
    annotations = {} if annotation is None else {NODE_IMAGES_ANNOTATION: annotation}
    return {"metadata": {"namespace": "kip", "name": name, "uid": name, "annotations": annotations}}


def told(node, state):
    return encode_node_images(NodeImages(node, {IMAGE: state}))


def test_a_puller_tells_of_its_node():
    assert puller_state(pod("a", told("one", "present"))).images == NodeImages("one", {IMAGE: "present"})


def test_a_puller_that_says_nothing_or_nothing_known_leaves_its_node_unknown():
    for annotation in (None, "", "{}", '{"v": 99}'):
        assert puller_state(pod("a", annotation)).images is None


def test_only_nodes_where_the_image_is_present_have_it():
    states = [
        puller_state(pod(node, told(node, state))) for node, state in (("b", "present"), ("c", "pulling"), ("a", "present"))
    ]
    assert nodes_with(IMAGE, {state.key: state for state in states}) == ["a", "b"]
