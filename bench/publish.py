"""Update the pages from bench/results/results.json: `python -m bench.publish`.

It writes tables.md, the charts, million.md, and the tables of docs/benchmarks.md.
"""

import json
from pathlib import Path

from bench.capacity import PROFILES, Figures, capacity_tables
from bench.charts import charts
from bench.million import write as write_million
from bench.plan import Results
from bench.tables import introduction, tables

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def write(results: Results, directory: Path) -> None:
    """Write tables.md and the charts."""
    (directory / "tables.md").write_text(tables(results))
    for name, chart in charts(results).items():
        (directory / f"{name}.svg").write_text(chart)


def updated(page: str, results: Results) -> str:
    """Return the page with the figures of these results between the comments that name them."""
    for name, text in {"run": introduction(results), **capacity_tables(results)}.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->\n")
        if not end:
            raise SystemExit(
                f"error: docs/benchmarks.md has no <!-- {name} --> before an <!-- end -->. Add both lines."
            )
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page


def main() -> None:
    results = json.loads((RESULTS / "results.json").read_text())
    if missing := set(PROFILES) - set(Figures(results).known(PROFILES)):
        raise SystemExit(f"error: results.json has no {', '.join(sorted(missing))}. Run `make bench` without --only.")
    write(results, RESULTS)
    write_million(results, RESULTS)
    PAGE.write_text(updated(PAGE.read_text(), results))


if __name__ == "__main__":
    main()
