"""What the README says in figures is what the bench has measured."""

from stack import REPOSITORY


def test_the_capacity_table_is_that_of_the_published_run() -> None:
    tables = (REPOSITORY / "bench" / "results" / "tables.md").read_text()
    capacity = tables.partition("**What one core carries, and one GiB of memory**\n\n")[2].partition("\n\n")[0]
    assert capacity
    assert capacity in (REPOSITORY / "README.md").read_text()
