import numpy as np

from pipeline.curation import union_find


def _graph(n: int, edges: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(seed).integers(0, n, (2, edges)))


def test_it_is_what_a_search_through_the_graph_finds():
    for seed in range(5):
        ones, others = _graph(60, 40, seed)
        leaders = union_find.alone(60)
        for start in range(0, 40, 7):
            leaders = union_find.join(leaders, ones[start : start + 7], others[start : start + 7])
        assert leaders.tolist() == _reached(60, ones, others)


def _reached(n: int, ones: np.ndarray, others: np.ndarray) -> list[int]:
    """The first row that can be reached from each, by asking every pair until nothing changes."""
    first = list(range(n))
    for _ in range(n):
        for one, other in zip(ones, others):
            first[one] = first[other] = min(first[one], first[other])
    return first


def test_groups_are_told_by_value_and_listed_by_member():
    leaders = union_find.by_value(np.array(["b", "a", "b", "c", "a"]))
    assert leaders.tolist() == [0, 1, 0, 3, 1]
    assert [group.tolist() for group in union_find.members(leaders)] == [[0, 2], [1, 4], [3]]
    assert union_find.members(union_find.alone(0)) == []
