"""The map says what single plans say, and its frontier is tight."""

import pytest

from planner.deployment import Deployment
from planner.plan import Plan, make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.capacity_map import CELLS, capacity_map, frontier_line, frontier_rows, short_tokens
from ui.figures import capacity_figure
from ui.model_source import from_preset


def plan(context: int, users: int, model: str = "llama-3.1-8b", **deployment: int) -> Plan:
    return make_plan(
        from_preset(model).model,
        load_gpu("h100-sxm5-80gb"),
        Deployment(**deployment),
        Workload(context=context, concurrency=users),
    )


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-27b-it", "deepseek-v2-lite"])
def test_cells_are_plans(model: str) -> None:
    here = plan(8192, 4, model)
    grid = capacity_map(here)
    assert grid.used.shape == (CELLS, CELLS)
    for row in (0, 20, 63):
        for column in (0, 31, 63):
            cell = plan(round(grid.contexts[column]), round(grid.users[row]), model)
            expected = cell.total_bytes_per_gpu / cell.gpu.memory_bytes
            assert grid.used[row][column] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sizes", [{}, {"tensor_parallel_size": 2, "data_parallel_size": 3}])
def test_frontier_fits_and_one_more_token_does_not(sizes: dict[str, int]) -> None:
    here = plan(32768, 12, **sizes)
    line = frontier_line(here, capacity_map(here))
    assert line
    for users, tokens in line[::7]:
        assert plan(tokens, users, **sizes).fits
        assert not plan(tokens + 1, users, **sizes).fits


@pytest.mark.parametrize(("context", "users"), [(1, 1), (2**27, 2**20), (100, 3), (131072, 64)])
def test_this_plan_lies_on_its_map(context: int, users: int) -> None:
    grid = capacity_map(plan(context, users))
    assert grid.contexts[0] <= context <= grid.contexts[-1]
    assert grid.users[0] <= users <= grid.users[-1]


def test_the_star_of_one_user_is_whole() -> None:
    """It lies on the map's lower edge, which would cut it in half."""
    here = plan(8192, 1)
    star = capacity_figure(here, capacity_map(here)).data[-1]
    assert list(star.y) == [capacity_map(here).users[0]] == [1]
    assert star.cliponaxis is False


def test_nothing_fits_is_said() -> None:
    here = plan(8192, 4, "deepseek-v3")
    assert {text for _, text in frontier_rows(here, capacity_map(here))} == {"none fits"}


def test_no_limit_is_said() -> None:
    here = plan(8192, 1, "mamba-2.8b-hf")
    rows = frontier_rows(here, capacity_map(here))
    assert rows[0] == ("1", "memory sets no limit")


@pytest.mark.parametrize(("n", "text"), [(1, "1"), (1000, "1,000"), (32768, "32k"), (2**21, "2M")])
def test_axis_names(n: int, text: str) -> None:
    assert short_tokens(n) == text
