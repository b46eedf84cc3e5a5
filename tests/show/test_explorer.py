"""The explorer plays what its knobs say, with the real engine, and its address holds them."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from importlib.resources import files

import pytest

import capsim as cs
from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.scenario.file import loads
from capsim.show.explorer import SETTINGS, Settings, explored
from capsim.show.explorer.engine import Superseded, _load

pytest.importorskip("aiohttp")
from aiohttp.test_utils import TestClient, TestServer

from capsim.show.explorer.serve import Explorer


def figure(answer, name):
    return next(f["value"] for f in answer["figures"] if f["name"] == name)


@pytest.fixture(scope="module")
def exact():
    return explored(Settings(load=2, stall=1_800, buffer=500), fidelity="exact")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_step_of_every_knob_makes_a_scenario_and_survives_its_address(setting):
    from urllib.parse import parse_qsl

    for step in setting.steps:
        settings = Settings(**{setting.name: step})
        settings.scenario()
        assert Settings.of(dict(parse_qsl(settings.query()))) == settings


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_knob_changes_its_key(setting):
    default = Settings()
    other = next(step for step in setting.steps if step != getattr(default, setting.name))
    one, two = (s.scenario().to_frame()["value"] for s in (default, default.changed(setting.name, other)))

    differing = {key for key in one.index.union(two.index) if str(one.get(key)) != str(two.get(key))}
    wanted = setting.key.split(".*.")
    assert differing and all((key.startswith(wanted[0]) and key.endswith(wanted[-1].split(".")[-1])) or
                             key.startswith(setting.key) for key in differing)  # fmt: skip


def test_the_answer_is_that_of_a_run_of_the_downloaded_scenario(exact):
    from capsim.scenario.file import dumps

    settings = Settings(load=2, stall=1_800, buffer=500)
    run = cs.simulate(loads(dumps(settings.scenario())), month=False)
    told = run.summary().set_index("metric")["value"]

    assert figure(exact, "items lost") == told["items_lost"]
    assert figure(exact, "items offered") == told["items_offered"]
    assert figure(exact, "server memory, mean") == float(f"{run.samples['server_rss_mib'].mean():.4g}")


def test_the_first_answer_agrees_with_the_exact_one(exact):
    """Both draw the same law: means agree to a percent, a loss of 1.0 wedge to its chance (arrivals are other ones)."""
    first = explored(Settings(load=2, stall=1_800, buffer=500))

    assert first["fidelity"] == "law"
    assert figure(first, "server memory, mean") == pytest.approx(figure(exact, "server memory, mean"), rel=0.01)
    assert figure(first, "items offered") == pytest.approx(figure(exact, "items offered"), rel=0.02)
    assert figure(first, "items lost") == pytest.approx(figure(exact, "items lost"), rel=0.05)
    assert figure(exact, "items lost") > 10_000  # the stall stops a writer for good: half a day of events is lost


def test_arrivals_are_drawn_once_and_not_changed_by_a_run():
    before = [block.times["events"].copy() for block in _load(2, 0).blocks()]
    explored(Settings(load=2), fidelity="exact")

    assert _load(2, 0) is _load(2, 0)
    assert all((a == b.times["events"]).all() for a, b in zip(before, _load(2, 0).blocks(), strict=True))


def test_what_the_law_cannot_tell_is_played_exactly():
    """A load that the law refuses is no error of the reader: the answer is the exact one."""
    busy = Settings(load=1, batch=10)
    scenario = busy.scenario()
    object.__setattr__(scenario.workload, "queries_hz", 0.1)  # reads are told of single requests

    class Asked(Settings):
        def scenario(self):
            return scenario

    assert explored(Asked(load=1, batch=10))["fidelity"] == "exact"


def test_an_answer_that_nobody_wants_any_more_is_not_finished():
    with pytest.raises(Superseded):
        explored(Settings(load=1), fidelity="exact", superseded=lambda: True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"stall": "7"}, "stall = 7: is no step of it; give one of 0, 10, 30"),
        ({"x": "1"}, "x: there is no such setting"),
        ({"load": "nan"}, "load = nan: is no step"),
        ({"buffer": "<script>"}, "buffer = <script>: is no step"),
    ],
)
def test_a_wrong_address_is_told_in_one_line(words, said):
    with pytest.raises(CapsimError, match=said):
        Settings.of(words)


def test_settings_are_checked_in_python_too():
    with pytest.raises(CapsimError, match=r"pool = 4: is no step of it"):
        Settings(pool=4)


def asked(*paths):
    async def ask():
        async with TestClient(TestServer(Explorer().application())) as client:
            answers = []
            for path in paths:
                response = await client.get(path)
                answers.append((response.status, response.headers, await response.text()))
            return answers

    return asyncio.run(ask())


def test_the_server_gives_page_answer_and_scenario():
    page, answer, scenario, script, style = asked(
        "/", "/play?load=1&reader=x", "/scenario.toml?pool=3", "/files/explorer.js", "/files/explorer.css"
    )

    assert [status for status, _, _ in (page, answer, scenario, script, style)] == [200] * 5
    for setting in SETTINGS:
        assert f'<label for="{setting.name}">' in page[2]
    assert json.loads(answer[2])["settings"]["load"] == 1
    assert loads(scenario[2]).server.pool.limit == 3
    assert "attachment" in scenario[1]["Content-Disposition"]
    assert "--blue: #005A9C" in style[2]


def test_the_page_asks_nobody_else_and_bad_input_shows_no_traceback():
    page, bad, absent = asked("/", "/play?stall=7", "/files/..%2fserve.py")

    assert "default-src 'self'" in page[1]["Content-Security-Policy"] and "http" not in page[2]
    assert bad[0] == 400 and "Traceback" not in bad[2] and json.loads(bad[2])["problems"]
    assert absent[0] == 404


def test_a_port_in_use_is_told_in_one_line(capsys):
    import socket

    with socket.socket() as taken, pytest.raises(SystemExit) as ended:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        main(["app", "--no-show", "--port", str(taken.getsockname()[1])])
    assert ended.value.code == 2 and "choose another --port" in capsys.readouterr().err


def test_the_widget_redraws_when_a_slider_moves():
    pytest.importorskip("ipywidgets")
    from capsim.show.explorer.widget import explorer

    box = explorer(load=1)
    picture, slider = box.children[2], box.children[0].children[1]
    first = picture.value
    slider.value = 1_800

    assert box.settings == Settings(load=1, stall=1_800)
    assert picture.value != first and picture.value[:4] == b"\x89PNG"


def test_the_widget_refuses_what_is_no_knob():
    from capsim.show.explorer.widget import explorer

    with pytest.raises(CapsimError, match="x: there is no such setting"):
        explorer(x=1)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_an_old_answer_is_marked_as_old_until_the_new_one_is_there():
    """The page's own script, with as much of a browser as it needs."""
    script = (files("capsim.show.explorer") / "page" / "explorer.js").read_text(encoding="utf-8")
    script = script.replace("function draw(answer)", "function drawn(answer)")
    browser = """
      const elements = {};
      const made = (id) => elements[id] ||= { id, dataset: {}, hidden: true, attributes: {}, classes: new Set(),
        classList: { add: (c) => made(id).classes.add(c), remove: (c) => made(id).classes.delete(c),
                     toggle: (c, on) => on ? made(id).classes.add(c) : made(id).classes.delete(c) },
        setAttribute: (k, v) => { made(id).attributes[k] = v; }, listeners: {},
        addEventListener: (kind, f) => { made(id).listeners[kind] = f; }, querySelectorAll: () => [knob] };
      const knob = Object.assign(made("load"), {
        type: "range", value: "0", dataset: { steps: "[1, 2]", unit: "1/s" } });
      globalThis.document = { getElementById: made };
      globalThis.location = { search: "", pathname: "/" };
      globalThis.history = { replaceState() {} };
      globalThis.addEventListener = () => {};
      const waiting = [];
      const answer = { json: async () => ({ fidelity: "exact" }) };
      globalThis.fetch = () => new Promise((resolve) => waiting.push(() => resolve(answer)));
      function draw() {}
    """
    play = """
      const settle = () => new Promise((resolve) => setImmediate(resolve));
      const seen = () => [made("answer").classes.has("old"), made("old").hidden,
                          made("figures").attributes["aria-busy"]];
      (async () => {
        waiting.shift()(); await settle();
        const first = seen();
        knob.value = "1"; form.listeners.input();
        const moved = seen();
        waiting.shift()(); await settle();
        console.log(JSON.stringify([first, moved, seen()]));
        process.exit(0);
      })();
    """
    program = browser + script.replace('"use strict";', "") + play
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[False, True, "false"], [True, False, "true"], [False, True, "false"]]


def test_the_widget_marks_its_old_answer_too(monkeypatch):
    pytest.importorskip("ipywidgets")
    from capsim.show.explorer import widget

    seen = []

    def explored(settings):
        if seen:
            seen.append((box.children[1].value, box.children[2].layout.opacity))
        return {"figures": [{"name": "items lost", "value": 7, "unit": "items"}]}

    monkeypatch.setattr(widget, "explored", explored)
    monkeypatch.setattr(widget, "drawn", lambda answer: None)
    monkeypatch.setattr(widget, "_png", lambda figure: b"")
    box = widget.explorer()
    seen.append(None)
    knob = box.children[0].children[0]
    knob.value = next(value for _, value in knob.options if value != knob.value)

    assert "old answer" in seen[1][0] and seen[1][1] == "0.45"
    assert "old" not in box.children[1].value and box.children[2].layout.opacity == "1"
