"""The figures beside those that are recorded."""

from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
TOLERANCE = 0.05


def compare(figures: dict[str, int], recorded: dict[str, int]) -> tuple[str, list[str]]:
    """Return a table, and a warning for each operation that takes more instructions than recorded plus the tolerance.

    Raises SystemExit if the operations are not those that are recorded.
    """
    if figures.keys() != recorded.keys():
        raise SystemExit(
            f"error: {RECORDED} has other operations. Record them: `python -m bench.instructions --record`"
        )
    ratios = {name: figures[name] / recorded[name] for name in figures}
    rows = [f"{'instructions per operation':32}{'recorded':>12}{'now':>12}{'ratio':>8}"]
    rows += [f"{name:32}{recorded[name]:>12,}{figures[name]:>12,}{ratio:>8.3f}" for name, ratio in ratios.items()]
    warnings = [
        f"warning: {name}: {ratio:.3f} times the recorded instructions"
        for name, ratio in ratios.items()
        if ratio > 1 + TOLERANCE
    ]
    return "\n".join(rows), warnings
