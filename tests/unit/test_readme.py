"""README.md stays short; the figures in docs/benchmarks.md are those that the bench measured."""

from stack import REPOSITORY


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_the_capacity_table_matches_the_published_results() -> None:
    tables = (REPOSITORY / "bench" / "results" / "tables.md").read_text()
    capacity = tables.partition("**Capacity of one core, and of one GiB of memory**\n\n")[2].partition("\n\n")[0]
    assert capacity
    assert capacity in (REPOSITORY / "docs" / "benchmarks.md").read_text()
