import asyncio

from enterprise_gateway.deadline import Deadline


def test_a_list_that_comes_in_pages_is_whole_and_has_the_version_of_all_of_it(cluster_type):
    async def scenario():
        async with cluster_type() as cluster:
            names = [f"pod-{number:03}" for number in range(250)]
            for name in names:
                await cluster.api.put("pods", {"metadata": {"name": name, "namespace": "ns"}})
            seen, version = await cluster.client.list_as(
                "Pod", None, lambda document: document["metadata"]["name"], deadline=Deadline(5)
            )
            documents, _ = await cluster.client.list("Pod", None, deadline=Deadline(5))
        assert sorted(seen) == sorted(document["metadata"]["name"] for document in documents) == names
        assert version == documents[-1]["metadata"]["resourceVersion"]
        assert len(cluster.api.requests) == 6

    asyncio.run(scenario())
