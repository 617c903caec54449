"""The figures in the README are those that the bench measured."""

from stack import REPOSITORY


def test_the_capacity_table_matches_the_published_results() -> None:
    tables = (REPOSITORY / "bench" / "results" / "tables.md").read_text()
    capacity = tables.partition("**Capacity of one core, and of one GiB of memory**\n\n")[2].partition("\n\n")[0]
    assert capacity
    assert capacity in (REPOSITORY / "README.md").read_text()
