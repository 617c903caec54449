"""Write dashboard.json, with the tiles and charts of monitoring/consoles/index.html: `make grafana`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import promql_parser
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "monitoring" / "consoles" / "index.html"
# Of the page → of Grafana: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats
UNITS = {"": "short", "/s": "ops", "B": "bytes", "B/s": "Bps", "s": "s", "%": "percent", "days": "none"}
# Grafana's grid has 24 columns.
TILE_WIDTH, CHART_WIDTH = 4, 8


def panels() -> dict[str, Any]:
    """Return the tiles and charts of the page."""
    (found,) = re.findall(r'id="panels">(.*?)</script>', PAGE.read_text(), re.DOTALL)
    return dict(json.loads(found))


def query(expression: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """Return a query; raises an error if the expression is not PromQL."""
    promql_parser.parse(expression.replace("WINDOW", "1m"))
    made = prometheus.Dataquery().expr(expression.replace("WINDOW", "$__rate_interval")).ref_id(ref)
    return made.legend_format(legend) if legend else made


def build() -> str:
    """Return the dashboard, as JSON that Grafana imports."""
    source = DataSourceRef(type_val="prometheus", uid="${datasource}")
    board = (
        dashboard.Dashboard("wss")
        .uid("wss")
        .tags(["websocket"])
        .refresh("10s")
        .time("now-1h", "now")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for tile in panels()["tiles"]:
        made = stat.Panel().title(tile["title"]).unit(UNITS[tile["unit"]]).datasource(source).height(4).span(TILE_WIDTH)
        board.with_panel(made.with_target(query(tile["expr"])))
    for chart in panels()["charts"]:
        legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        graph = timeseries.Panel().title(chart["title"]).unit(UNITS[chart["unit"]]).datasource(source).min(0)
        graph = graph.height(8).span(CHART_WIDTH).legend(legend.show_legend(True))
        for ref, each in zip("ABC", chart["queries"], strict=False):
            graph.with_target(query(each["expr"], each.get("label") or f"{{{{{each['by']}}}}}", ref))
        board.with_panel(graph)
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(board.build())}\n"


if __name__ == "__main__":
    file = HERE / "dashboard.json"
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if file.read_text() == build() else f"error: {file} is out of date. Run make grafana")
    file.write_text(build())
