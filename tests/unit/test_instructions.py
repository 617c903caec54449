"""bench.instructions: what it reports of the figures that it counts."""

import pytest

from bench.instructions.comparison import compare

RECORDED = {"echo": 1000, "new client": 20_000}


@pytest.mark.parametrize(
    ("echo", "warnings"),
    [
        (900, []),
        (1000, []),
        (1050, []),
        (1051, ["warning: echo: 1.051 times the recorded instructions"]),
        (2000, ["warning: echo: 2.000 times the recorded instructions"]),
    ],
)
def test_it_warns_of_an_operation_that_takes_over_5_percent_more(echo: int, warnings: list[str]) -> None:
    table, found = compare({**RECORDED, "echo": echo}, RECORDED)
    assert found == warnings
    assert f"{echo:,}" in table
    assert f"{echo / 1000:.3f}" in table


@pytest.mark.parametrize("figures", [{"echo": 1000}, {**RECORDED, "another": 1}, {}])
def test_other_operations_than_the_recorded_are_an_error(figures: dict[str, int]) -> None:
    with pytest.raises(SystemExit, match="has other operations"):
        compare(figures, RECORDED)
