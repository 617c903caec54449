"""The published figures are those of bench/results/results.json; each subject of the bench has what it needs."""

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from stack import REPOSITORY

from bench import million, publish
from bench.charts import charts
from bench.subjects import DIRECTORIES, SUBJECTS, network_of, selected, stack_of
from bench.tables import tables

RESULTS: dict[str, Any] = json.loads((REPOSITORY / "bench" / "results" / "results.json").read_text())
PAGE = (REPOSITORY / "docs" / "benchmarks.md").read_text()


def published(name: str) -> str:
    return (REPOSITORY / "bench" / "results" / name).read_text()


def test_the_page_has_the_figures_of_the_published_results() -> None:
    assert publish.updated(PAGE, RESULTS) == PAGE


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(SystemExit, match="has no <!-- storm --> before an <!-- end -->"):
        publish.updated(PAGE.replace("<!-- storm -->", ""), RESULTS)


def test_the_tables_and_charts_are_made_from_the_published_results() -> None:
    assert tables(RESULTS) == published("tables.md")
    assert {name: published(f"{name}.svg") for name in charts(RESULTS)} == charts(RESULTS)


def test_the_million_is_calculated_from_the_published_results() -> None:
    assert million.report(million.Costs(RESULTS)) == (published("million.md"), published("million.svg"))


def test_the_run_measured_each_subject_or_names_it_as_left_out() -> None:
    measured = {
        row["subject"] for rows in RESULTS.values() if isinstance(rows, list) for row in rows if "subject" in row
    }
    left_out = "; ".join(RESULTS["left_out"])
    assert [each.name for each in SUBJECTS if each.name not in measured and each.name not in left_out] == []


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_a_subject_has_an_image_and_its_stack_is_selected_with_it(subject: Any) -> None:
    assert subject.is_stack or subject.is_other_proxy or subject.built_image in DIRECTORIES
    names = [each.name for each in selected(SUBJECTS, [subject.name])]
    assert subject.name in names
    if subject.is_other_proxy:
        # The stack is started first, because the proxy runs in its network.
        assert names.index(stack_of(subject).name) < names.index(subject.name)


def test_each_stack_has_a_network_of_its_own_whatever_is_measured() -> None:
    networks = [network_of(replace(each, workloads=frozenset())) for each in SUBJECTS if each.is_stack]
    assert len({*networks}) == len(networks)
    reserved = ip_network("198.18.0.0/15")
    assert all(ip_address(f"{each}.{last}") in reserved for each in networks for last in (0, 255))
