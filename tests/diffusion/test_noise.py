import torch

from pipeline.diffusion import noise


def test_the_same_counters_give_the_same_numbers_in_any_order():
    first = noise.uniform(3, noise.generator(1, "slot", 7, 2))
    noise.uniform(9, noise.generator(1, "slot", 8, 0))
    assert noise.uniform(3, noise.generator(1, "slot", 7, 2)) == first


def test_every_part_of_the_address_counts():
    addresses = [(1, "slot", 7, 2), (2, "slot", 7, 2), (1, "order", 7, 2), (1, "slot", 72), (1, "slot", 2, 7)]
    drawn = {tuple(noise.uniform(1, noise.generator(*address))) for address in addresses}
    assert len(drawn) == len(addresses)


def test_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    noise.uniform(5, noise.generator(1, "slot", 0))
    assert torch.equal(torch.get_rng_state(), before)
