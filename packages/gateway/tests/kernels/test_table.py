import asyncio

from enterprise_gateway.kernels import table

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_dead_kernel_is_forgotten_once_its_clients_could_see_why(kit, monkeypatch):
    monkeypatch.setattr(table, "_DEAD_SECONDS", 0.05)

    async def run():
        kernel, _ = await kit.start()
        kernel.dead("It died.")
        kit.table.ended(kernel, forget=False)
        seen = [kernel.reason for kernel in kit.kernels.all()]
        while kit.kernels.all():
            await asyncio.sleep(0.01)
        return seen, kit.forgotten == [kernel.kernel_id]

    assert asyncio.run(run()) == (["It died."], True)


def test_a_dead_kernel_whose_end_somebody_wanted_is_forgotten_at_once(kit):
    async def run():
        kernel, _ = await kit.start()
        kernel.dead("It was shut down elsewhere.")
        kit.table.ended(kernel, forget=True)
        return kit.kernels.all()

    assert asyncio.run(run()) == []


def test_a_dead_kernel_that_was_started_again_is_not_forgotten_by_its_first_death(kit, monkeypatch):
    monkeypatch.setattr(table, "_DEAD_SECONDS", 0.0)

    async def run():
        kernel, _ = await kit.start()
        kernel.dead("It died.")
        kit.table.ended(kernel, forget=False)
        kernel.restarting(None)
        kernel.restarted()
        for _ in range(5):
            await asyncio.sleep(0)
        return [kernel.execution_state for kernel in kit.kernels.all()]

    assert asyncio.run(run()) == ["idle"]


def test_of_too_many_dead_kernels_the_oldest_goes_of_whoever_has_the_most(kit, monkeypatch):
    monkeypatch.setattr(table, "_MOST_DEAD", 3)

    async def run():
        users = ["alice", "bob", "bob", "bob", "bob"]
        kernels = [(await kit.start(KERNEL_USERNAME=user))[0] for user in users]
        for kernel in kernels:
            kernel.dead("It died.")
            kit.table.ended(kernel, forget=False)
        return [kernels.index(kernel) for kernel in kit.kernels.all()]

    assert asyncio.run(run()) == [0, 3, 4]
