"""What the dashboards are made of: each panel with a title, a description, a unit and its queries.

Every query goes to `$datasource`, and nothing here knows an address: a dashboard works wherever it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatPanel
from grafana_foundation_sdk.builders.table import Panel as TablePanel
from grafana_foundation_sdk.builders.timeseries import Panel as TimeseriesPanel
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard, prometheus

TAG = "hub-auth-sidecar"
KEY_DASHBOARD = "sidecar-key"

_SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GREEN, _YELLOW, _RED = "green", "yellow", "red"

Step = tuple[float, Literal["green", "yellow", "red"]]


@dataclass(frozen=True)
class Query:
    """An expression and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Number:
    """One figure. `steps` colour it from a value on; below the first it is green. `now` asks for this moment only."""

    title: str
    description: str
    unit: str
    expr: str
    steps: Sequence[Step] = ()
    now: bool = True
    width: int = 3
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Series over time."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    stacked: bool = False
    exemplars: bool = False
    width: int = 12


@dataclass(frozen=True)
class Column:
    """A label of a table's rows under another heading; `Value` is the figure's own name."""

    label: str
    heading: str


@dataclass(frozen=True)
class Table:
    """Rows of this moment, the highest figure first. A column `key_id` leads to the key's own dashboard."""

    title: str
    description: str
    unit: str
    expr: str
    columns: Sequence[Column]
    width: int = 12
    height: int = 9


Shown = Number | Graph | Table


def key_names(expr: str, *further: str) -> str:
    """`expr`, labelled by key_id and `further`, with name and owner beside it where sidecar_key_info tells them.

    A key that was just renamed has two names for a moment; topk takes one, for two would be an error.
    """
    named = f"({expr}) * on (key_id) group_left (name, owner) topk by (key_id) (1, max by (key_id, name, owner) (sidecar_key_info))"
    return f"({named}) or on ({', '.join(('key_id', *further))}) ({expr})"


def increase(selector: str, window: str) -> str:
    """What a counter gained in `window`, with the first value of a series that is not as old.

    increase() alone misses what a series is born with, and signals are rare: often that is all there is.
    """
    return f"(({selector} unless {selector} offset {window}) or increase({selector}[{window}]))"


def board(uid: str, title: str, description: str, variables: Sequence[Builder[dashboard.VariableModel]]) -> builders.Dashboard:
    """An empty dashboard that leads to its sisters."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .link(
            builders.DashboardLink("Dashboards of the sidecar")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        made.with_variable(variable)
    return made


def query_variable(name: str, label: str, query: str, regex: str = "") -> builders.QueryVariable:
    """A variable whose values come from the data source."""
    made = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )
    return made.regex(regex) if regex else made


def instance_variable() -> builders.QueryVariable:
    """The replicas, all of them unless some are chosen."""
    return (
        query_variable("instance", "Instance", "label_values(sidecar_build_info, instance)").multi(True).include_all(True).all_value(".*")
    )


def add_row(made: builders.Dashboard, first_id: int, title: str, shown: Sequence[Shown]) -> int:
    """Add a row with what it shows, numbered from `first_id` on; returns the next number."""
    made.with_row(builders.Row(title).id(first_id))
    for number, one in enumerate(shown, first_id + 1):
        made.with_panel(_panel(one, number))
    return first_id + 1 + len(shown)


def _panel(shown: Shown, number: int) -> Builder[dashboard.Panel]:
    match shown:
        case Number():
            return _number(shown, number)
        case Graph():
            return _graph(shown, number)
        case Table():
            return _table(shown, number)


def _query(expr: str, legend: str = "", name: str = "A") -> Dataquery:
    made = Dataquery().ref_id(name).expr(expr).editor_mode(prometheus.QueryEditorMode.CODE).datasource(_SOURCE)
    return made.legend_format(legend) if legend else made


def _thresholds(steps: Sequence[Step]) -> builders.ThresholdsConfig:
    all_steps = [dashboard.Threshold(value=None, color=_GREEN), *(dashboard.Threshold(value=value, color=color) for value, color in steps)]
    if steps and steps[0][0] <= 0:
        all_steps[0] = dashboard.Threshold(value=None, color=steps[0][1])
        all_steps[1:2] = []
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(all_steps)


def _number(shown: Number, number: int) -> StatPanel:
    query = _query(shown.expr)
    made = (
        StatPanel()
        .id(number)
        .title(shown.title)
        .description(shown.description)
        .datasource(_SOURCE)
        .unit(shown.unit)
        .thresholds(_thresholds(shown.steps))
        .graph_mode(common.BigValueGraphMode.NONE if shown.now else common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE if shown.steps else common.BigValueColorMode.NONE)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query.instant() if shown.now else query.range())
        .span(shown.width)
        .height(4)
    )
    if shown.texts:
        texts = {value: dashboard.ValueMappingResult(text=text) for value, text in shown.texts.items()}
        made.mappings([dashboard.ValueMap(options=texts)])
    return made


def _graph(shown: Graph, number: int) -> TimeseriesPanel:
    made = (
        TimeseriesPanel()
        .id(number)
        .title(shown.title)
        .description(shown.description)
        .datasource(_SOURCE)
        .unit(shown.unit)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if shown.stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            options.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .span(shown.width)
        .height(9)
    )
    if shown.stacked:
        made.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for name, query in zip("ABCDEF", shown.queries, strict=False):
        made.with_target(_query(query.expr, query.legend, name).range().exemplar(shown.exemplars))
    return made


def _table(shown: Table, number: int) -> TablePanel:
    order = {column.label: place for place, column in enumerate(shown.columns)}
    hidden = {name: True for name in ("Time", "__name__", "instance", "job") if name not in order}
    headings = {column.label: column.heading for column in shown.columns}
    made = (
        TablePanel()
        .id(number)
        .title(shown.title)
        .description(shown.description)
        .datasource(_SOURCE)
        .unit(shown.unit)
        .with_target(_query(shown.expr).instant().format(prometheus.PromQueryFormat.TABLE))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize", options={"excludeByName": hidden, "indexByName": order, "renameByName": headings}
            )
        )
        .sort_by([options.TableSortByFieldState().display_name(headings["Value"]).desc(True)])
        .span(shown.width)
        .height(shown.height)
    )
    if "key_id" in headings:
        url = f"/d/{KEY_DASHBOARD}?var-key_id=${{__value.raw}}&var-datasource=${{datasource}}&${{__url_time_range}}"
        link = dashboard.DynamicConfigValue(id_val="links", value=[{"title": "This key", "url": url}])
        made.override_by_name(headings["key_id"], [link])
    return made
