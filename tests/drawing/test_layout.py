"""Where states, lines and labels are put."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.drawing.layout import NEAR, nondecreasing, place
from spex_shards.drawing.ordering import crossings, ordered
from spex_shards.drawing.ranking import heaviest_tree, ranked

sizes = st.integers(1, 12)
graphs = sizes.flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.dictionaries(
            st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), st.integers(0, 900), max_size=60
        ),
    )
)
Graph = tuple[int, dict[tuple[int, int], int]]


@settings(deadline=None)
@given(graph=graphs, weighted=st.booleans())
def test_nothing_lies_on_anything_in_a_layout(graph: Graph, weighted: bool) -> None:
    """Neither nodes nor labels, and all of it is inside; every edge goes from border to border."""
    size, edges = graph
    nodes = {n: (40.0 + 7 * n, 30.0) for n in range(size)}
    weights = {pair: float(weight) for pair, weight in edges.items()} if weighted else None
    placed = place(dict(nodes), dict.fromkeys(sorted(edges), (25.0, 14.0)), weights)
    boxes = [(*placed.nodes[n], *nodes[n]) for n in nodes]
    boxes += [(*at, 25.0, 14.0) for at in placed.labels.values()]
    for x, y, width, height in boxes:
        assert x - width / 2 >= -0.01
        assert x + width / 2 <= placed.size[0] + 0.01
        assert y - height / 2 >= -0.01
        assert y + height / 2 <= placed.size[1] + 0.01
    for (x, y, width, height), (other_x, other_y, other_width, other_height) in combinations(boxes, 2):
        apart = abs(x - other_x) >= (width + other_width) / 2 + NEAR / 2
        assert apart or abs(y - other_y) >= (height + other_height) / 2 - 0.01
    assert set(placed.labels) == set(edges)
    assert set(placed.edges) == {pair for pair in edges if pair[0] != pair[1]}
    for (source, target), points in placed.edges.items():
        for node, (x, y) in ((source, points[0]), (target, points[-1])):
            assert abs(x - placed.nodes[node][0]) <= nodes[node][0] / 2
            assert abs(y - placed.nodes[node][1]) == pytest.approx(15.0)


@settings(deadline=None)
@given(graph=graphs)
def test_no_two_lines_share_an_end(graph: Graph) -> None:
    """Both directions between two nodes have ports and labels of their own."""
    size, edges = graph
    placed = place(dict.fromkeys(range(size), (400.0, 30.0)), dict.fromkeys(sorted(edges), (25.0, 14.0)))
    ends = [points[at] for points in placed.edges.values() for at in (0, -1)]
    assert len({(round(x, 3), round(y, 3)) for x, y in ends}) == len(ends)


def test_a_layout_without_cycles_goes_down() -> None:
    """And the same input has the same layout."""
    edges = {(0, 1): (10.0, 10.0), (0, 2): (10.0, 10.0), (1, 3): (10.0, 10.0), (2, 3): (10.0, 10.0)}
    placed = place(dict.fromkeys(range(4), (40.0, 30.0)), edges)
    y = {n: at[1] for n, at in placed.nodes.items()}
    assert y[0] < y[1] == y[2] < y[3]
    assert placed == place(dict.fromkeys(range(4), (40.0, 30.0)), edges)
    assert place({}, {}).size == (0.0, 0.0)


def test_long_edges_of_a_huge_graph_are_drawn_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the number of places stays bounded."""
    monkeypatch.setattr("spex_shards.drawing.layout.MOST_PLACES", 3)
    edges = {(n, n + 1): (10.0, 10.0) for n in range(5)} | {(0, 5): (10.0, 10.0)}
    placed = place(dict.fromkeys(range(6), (40.0, 30.0)), edges)
    assert len(placed.edges[0, 5]) == 4


def test_what_is_taken_often_goes_down() -> None:
    """A rare step does not decide where a state is: here the way back from 2 is rare, or else the way there."""
    edges = [(0, 1), (1, 2), (2, 1)]
    assert ranked(3, edges, [9, 8, 1]) == [0, 1, 2]
    assert ranked(4, [(0, 3), (3, 1), (1, 2), (2, 1), (0, 2)], [90, 1, 1, 80, 80]) == [0, 2, 1, 1]


def test_a_dense_graph_is_drawn_by_distance() -> None:
    """A graph in which anything may follow anything would else have a row for each state."""
    edges = [(0, n) for n in range(1, 6)] + [(a, b) for a in range(1, 6) for b in range(1, 6) if a != b]
    assert ranked(6, edges) == [0, 1, 1, 1, 1, 1]
    assert max(ranked(6, edges[:5] + [(n, n + 1) for n in range(1, 5)])) == 5


@settings(deadline=None)
@given(graph=graphs)
def test_a_rank_has_no_edge_that_decides_inside(graph: Graph) -> None:
    """Every node that can be reached lies below one that leads to it."""
    size, weights = graph
    edges = [pair for pair in weights if pair[0] != pair[1]]
    for rank in (ranked(size, edges), ranked(size, edges, [weights[pair] for pair in edges])):
        assert min(rank) == 0
        for node in range(size):
            assert rank[node] == 0 or any(
                t == node and rank[s] < rank[node] for s, t in [*edges, *((t, s) for s, t in edges)]
            )


@settings(deadline=None)
@given(graph=graphs)
def test_the_widest_way_has_the_most_frequent_rarest_step(graph: Graph) -> None:
    """Compared with all simple ways from the root."""
    size, weights = graph
    size = min(size, 6)
    edges = [pair for pair in weights if max(pair) < size and pair[0] != pair[1]]
    into = heaviest_tree(size, edges, [weights[pair] for pair in edges])

    def best(node: int, seen: frozenset[int]) -> float:
        """Return the weight of the rarest step of the best way from node 0."""
        if node == 0:
            return float("inf")
        ways = [min(weights[s, t], best(s, seen | {t})) for s, t in edges if t == node and s not in seen | {t}]
        return max(ways, default=-1.0)

    for node in range(1, size):
        wanted = best(node, frozenset())
        if wanted < 0:
            continue
        found, at = float("inf"), node
        while at != 0:
            number = into[at]
            assert number is not None
            found, at = min(found, weights[edges[number]]), edges[number][0]
        assert found == wanted


@given(st.lists(st.lists(st.integers(0, 3), max_size=4, unique=True), min_size=1, max_size=5))
def test_crossings_are_counted_as_by_hand(down: list[list[int]]) -> None:
    """And ordering never leaves more of them."""
    top = list(range(len(down)))
    lines = [[len(down) + target for target in targets] for targets in down] + [[] for _ in range(4)]
    ranks = [top, [len(down) + n for n in range(4)]]
    pairs = [(at, target) for at, targets in enumerate(down) for target in targets]
    by_hand = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(pairs, 2))
    assert crossings(ranks, lines) == by_hand
    up = [[] for _ in top] + [[n for n in top if len(down) + m in lines[n]] for m in range(4)]
    assert crossings(ordered(ranks, up, lines), lines) <= by_hand


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 5)), min_size=1, max_size=6))
def test_pooling_finds_the_nearest_nondecreasing_sequence(given: list[tuple[int, int]]) -> None:
    """It keeps the weighted mean, and no small step of one value in an allowed direction is better."""
    values, weights = [float(v) for v, _ in given], [float(w) for _, w in given]
    found = nondecreasing(values, weights)
    assert found == sorted(found)

    def cost(candidate: list[float]) -> float:
        return sum(w * (c - v) ** 2 for w, c, v in zip(weights, candidate, values, strict=True))

    for at in range(len(found)):
        for step in (-0.01, 0.01):
            moved = [v + step if (n >= at if step > 0 else n <= at) else v for n, v in enumerate(found)]
            assert cost(moved) >= cost(found) - 1e-9
