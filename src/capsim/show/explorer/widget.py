"""The explorer in a notebook: sliders beside the plots of the day that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capsim.base.errors import CapsimError
from capsim.show.explorer.engine import explored
from capsim.show.explorer.settings import BY_NAME, SETTINGS, Settings, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT_PX = "440px"  # of the plots; fixed, so that the page does not jump while they are drawn again


def explorer(**settings: Value) -> Any:
    """Sliders whose every move plays the day again and redraws memory, buffers, losses and usage.

    Parameters
    ----------
    **settings
        Where the knobs stand at first: any field of `capsim.show.explorer.Settings`.

    Returns
    -------
    ipywidgets.Widget
        To be shown; ``.settings`` are the present `Settings`, and ``.settings.scenario()`` the scenario that they make.

    Raises
    ------
    CapsimError
        Without the extra ``notebooks``, or with a value that is none of a knob's steps.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        raise CapsimError("the explorer needs the extra 'notebooks': pip install 'capsim[notebooks]'") from error
    unknown = [name for name in settings if name not in BY_NAME]
    if unknown:
        raise CapsimError(f"{unknown[0]}: there is no such setting; settings: {', '.join(BY_NAME)}")
    first = Settings(**settings)
    wide = {"description_width": "12em"}
    knobs: dict[str, Any] = {}
    for setting in SETTINGS:
        make = widgets.SelectionSlider if setting.kind == "range" else widgets.Dropdown
        unit = f" [{setting.unit}]" if setting.unit else ""
        knobs[setting.name] = make(
            options=[(_shown(step), step) for step in setting.steps], value=getattr(first, setting.name),
            description=setting.label + unit, style=wide, layout=widgets.Layout(width="34em"),
        )  # fmt: skip
    picture = widgets.Image(format="png", layout=widgets.Layout(height=HEIGHT_PX, object_fit="contain"))
    picture.alt = "Memory, buffers, losses and usage of the day"
    words = widgets.HTML()
    box = widgets.VBox([widgets.VBox(list(knobs.values())), words, picture])

    def redraw(_: Any = None) -> None:
        box.settings = Settings(**{name: knob.value for name, knob in knobs.items()})
        # What stands there is of other knobs until the new answer has come.
        words.value = f"old answer, the new one is being simulated: <s>{words.value}</s>"
        picture.layout.opacity = "0.45"
        answer = explored(box.settings)
        words.value = "; ".join(f"{f['name']} <b>{f['value']:,} {f['unit']}</b>" for f in answer["figures"])
        picture.value = _png(drawn(answer))
        picture.layout.opacity = "1"

    for knob in knobs.values():
        knob.observe(redraw, "value")
    redraw()
    return box


def drawn(answer: dict[str, Any]) -> Figure:
    """The four plots of an answer of `capsim.show.explorer.explored`."""
    from matplotlib.figure import Figure

    from capsim.show.plots import style
    from capsim.show.plots.palette import BLUE, GREEN, ORANGE, PINK
    from capsim.show.plots.run import WRITERS

    series, bill = answer["series"], answer["bill"]
    time_h = series["time_h"]
    with style():
        figure = Figure(figsize=(10, 5.2))
        (memory, buffers), (losses, usage) = figure.subplots(2, 2)
        band = (series["billed_lower_mib"], series["billed_upper_mib"])
        memory.fill_between(time_h, *band, color=ORANGE, alpha=0.28, label="billed, by page cache", linewidth=0)
        memory.fill_between(time_h, series["rss_mib"], series["rss_peak_mib"], color=BLUE, alpha=0.28, linewidth=0)
        memory.plot(time_h, series["rss_mib"], color=BLUE, label="resident set, to its peak")
        memory.plot(time_h, series["heap_mib"], "--", color=GREEN, label="heap")
        memory.set(title="Memory of the server", ylabel="memory [MiB]", ylim=(0, None))
        for writer, (colour, line) in WRITERS.items():
            buffers.plot(time_h, series[f"{writer}_buffer"], line, color=colour, label=writer)
            losses.plot(time_h, series[f"{writer}_lost_hz"], line, color=colour, label=writer)
        if series["buffer_cap"] is not None and series["buffer_cap"] <= 2.5 * max(buffers.get_ylim()):
            buffers.axhline(series["buffer_cap"], color="black", linestyle=(0, (5, 3)), linewidth=1, label="cap")
        buffers.set(title="Buffers of the writers, peaks", ylabel="buffered [items]", ylim=(0, None))
        losses.set(title="Losses, busiest minutes", ylabel="lost [items/s]", ylim=(0, max(1, losses.get_ylim()[1])))
        reached = dict.fromkeys(bill["services"], 0.0)
        for name, colour in (("memory", BLUE), ("cpu", ORANGE), ("egress", GREEN), ("volume", PINK)):
            usd = {service: lines.get(name, 0.0) for service, lines in bill["services"].items()}
            usage.bar(list(usd), list(usd.values()), 0.6, bottom=list(reached.values()), color=colour, label=name)
            reached = {service: reached[service] + usd[service] for service in reached}
        usage.set(title=f"Usage of the day: {bill['amount']:.2f} USD", ylabel="usage [USD]")
        for ax in (memory, buffers, losses):
            ax.set(xlabel="time [h]", xlim=(0, 24), xticks=range(0, 25, 6))
        for ax in (memory, buffers, losses, usage):
            ax.legend(loc="upper right", ncols=2)
    return figure


def _png(figure: Figure) -> bytes:
    import io

    from capsim.show.plots import style

    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=96)
    return buffer.getvalue()


def _shown(step: Value) -> str:
    return step if isinstance(step, str) else f"{step:,g}"
