"""railway.ts: the forms that Railway's documentation and its package 3.11 allow, and what such a file does not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.telemetry.inspect import Unknown, effective, findings, read
from capsim.telemetry.inspect.railway_ts import typescript
from capsim.telemetry.inspect.typescript_values import NO_TEXT

OURS = Path(__file__).parents[1] / "data/cases/railway_ts"


def of(fields: str, before: str = "", environment: str | None = None) -> dict:
    """What ``service("web", fields)`` declares."""
    return typescript(f'{before}\nservice("web", {fields})', "railway.ts", environment=environment)


def inspected(name: str, *options: str) -> dict:
    done = CliRunner().invoke(main, ["inspect", str(OURS / f"{name}.ts"), "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def settings(document: dict) -> dict:
    return {row["name"]: row["value"] for row in document["settings"]}


@pytest.mark.parametrize(
    ("fields", "deploy"),
    [
        ('{ build: "pnpm build", start: "pnpm start", healthcheck: "/health", healthcheckTimeout: 30 }',
         {"startCommand": "pnpm start", "healthcheckPath": "/health", "healthcheckTimeout": 30}),
        ("{ replicas: 3 }", {"numReplicas": 3}),
        ('{ replicas: { "us-west2": 2, eu: { count: 3 }, asia: { replicas: 1 } } }',
         {"multiRegionConfig": {"us-west2": {"numReplicas": 2}, "eu": {"numReplicas": 3}, "asia": {"numReplicas": 1}}}),
        ("{ regions: { eu: {} } }", {"multiRegionConfig": {"eu": {}}}),
        ('{ run: { command: "a", healthcheck: "/h", preDeploy: "m" } }',
         {"startCommand": "a", "healthcheckPath": "/h", "preDeployCommand": "m"}),
        ('{ start: null, startCommand: "b", run: { command: "a" }, deploy: { startCommand: "c" } }',
         {"startCommand": "b"}),
        ('{ deploy: { startCommand: "c", drainingSeconds: 5, overlapSeconds: null } }',
         {"startCommand": "c", "drainingSeconds": 5}),
        ('{ start: "exec " + `node ${"a"}.js` }', {"startCommand": "exec node a.js"}),
        (r'{ start: `echo \${{A.B}} \u0041` }', {"startCommand": "echo ${{A.B}} A"}),
        ('{ deploy: { limitOverride: { containers: { memoryBytes: 2 * 1e9 } } } }',
         {"limitOverride": {"containers": {"memoryBytes": 2_000_000_000}}}),
    ],
)  # fmt: skip
def test_a_field_is_taken_as_the_package_takes_it(fields, deploy):
    assert of(fields)["deploy"] == deploy


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ('"production"', "production"),
        ('{ value: "x", isSealed: false, description: "y" }', "x"),
        ('{ type: "literal", value: "x" }', "x"),
        ("db.env.DATABASE_URL", "${{main db.DATABASE_URL}}"),
        ('ref(db, "DATABASE_URL")', "${{main db.DATABASE_URL}}"),
        ("ctx.shared.A", "${{shared.A}}"),
        ("common.A", "1"),
        ("preserve()", "kept in Railway (preserve())"),
        ('{ type: "preserve" }', "kept in Railway (preserve())"),
        ("{ isSealed: true }", "its value is set in Railway"),
        ("process.env.A!", "it is taken from the machine that applies it (process.env)"),
        ("8080", "it is no text, which the package refuses; write it in quotes"),
        ("`${db.env.A}?x`", NO_TEXT),
    ],
)  # fmt: skip
def test_a_variable_is_text_or_unknown_with_its_reason(value, read_as):
    found = of(f"{{ env: {{ A: {value} }} }}", 'const db = postgres("main db"); const common = { A: "1" };')["env"]["A"]

    assert (found.why if isinstance(found, Unknown) else found) == read_as


@pytest.mark.parametrize(
    "before",
    [
        'let start = "a";',
        'const start = "a"; function f(start: string) { return start; }',
        'const all = { start: "a" }; all.start = "b"; const { start } = all;',
        "const start = start2; const start2 = start;",
        'import { start } from "./base";',
    ],
)
def test_a_name_that_may_hold_something_else_is_unknown(before):
    assert isinstance(of("{ start }", before)["deploy"]["startCommand"], Unknown)


def test_a_spread_that_is_not_known_hides_what_stands_before_it_only():
    found = of('{ start: "a", ...base, replicas: 2 }')["deploy"]

    assert isinstance(found["startCommand"], Unknown) and isinstance(found["drainingSeconds"], Unknown)
    assert found["numReplicas"] == 2


def test_the_context_answers_for_the_environment_that_is_named():
    fields = '{ replicas: prod ? { eu: 2, us: 1 } : 1, deploy: { drainingSeconds: ctx.isEnvironment("pr") ? 1 : 9 } }'
    before = 'const prod = ctx.environment === "production";'

    assert of(fields, before, "production")["deploy"]["multiRegionConfig"] == {
        "eu": {"numReplicas": 2},
        "us": {"numReplicas": 1},
    }
    assert of(fields, before, "pr")["deploy"] == {"numReplicas": 1, "drainingSeconds": 1}
    assert "--environment" in of(fields, before)["deploy"]["numReplicas"].why


@pytest.mark.parametrize(
    "text",
    [
        'import { service as svc } from "railway/iac"; svc("web", { start: "x" })',
        'import * as rw from "railway/iac"; rw.service("web", { start: "x" })',
        'const { service: s } = require("railway/iac"); s("web", { start: "x" })',
        'import { fn } from "railway/iac"; fn("web", { start: "x" })',
        'service("db-less"); service("web", { start: "x" })',
    ],
)
def test_the_service_is_found_under_any_name_of_the_import(text):
    assert typescript(text, "railway.ts")["deploy"] == {"startCommand": "x"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('service("a", { start: "x" }); service("b", { start: "y" })', "a, b"),
        ('postgres("db")', "declares no service"),
        ("service(", "is not TypeScript"),
        ("service('web', { start: " + "(" * 3_000 + "1" + ")" * 3_000 + "})", "nested"),
    ],
)  # fmt: skip
def test_a_file_without_one_service_is_refused_in_words(text, told):
    with pytest.raises(CapsimError, match=told):
        typescript(text, "railway.ts")


def test_a_text_that_doubles_with_every_line_is_not_read():
    lines = ['const a0 = "xxxxxxxxxx";', *(f"const a{n + 1} = a{n} + a{n};" for n in range(60))]

    assert isinstance(of("{ start: a60 }", "\n".join(lines))["deploy"]["startCommand"], Unknown)


def test_all_that_the_package_allows():
    document = inspected("whole")
    found = settings(document)

    assert document["takes_effect"] == "apply"
    assert (found["server"], found["heap cap [MiB]"], found["replicas"]) == ("node dist/index.js", 1024, 4)
    assert (found["memory limit [GB]"], found["CPU limit [vCPU]"]) == (2.0, 2)
    assert [found[name] for name in ("restart", "draining [s]", "health check")] == ["ALWAYS", 30, "at deploy only"]
    assert found["pool: connection_limit"] == 5
    (kept,) = [f for f in document["findings"] if f["kind"] == "variables kept in Railway"]
    assert "2 variables" in kept["what"]


def test_forty_kept_variables_are_one_line_that_never_says_to_commit_them(tmp_path):
    names = ["DATABASE_URL", "NODE_OPTIONS", *(f"SECRET_{n}" for n in range(38))]
    (tmp_path / "railway.ts").write_text(
        f"service('web', {{ env: {{ {', '.join(f'{n}: preserve()' for n in names)} }} }})"
    )
    found = [f for f in findings(effective(read([str(tmp_path)]))) if "kept in Railway" in f.kind]

    assert len(found) == 1 and found[0].harm == "note"
    assert "40 variables, among them DATABASE_URL, NODE_OPTIONS" in found[0].what
    assert found[0].remedy == "give it here in a .env that you do not commit"


def test_what_the_file_does_not_say_is_unknown_and_no_harm_is_built_on_it(tmp_path):
    (tmp_path / ".railway").mkdir()
    (tmp_path / ".railway/railway.ts").write_bytes((OURS / "unread.ts").read_bytes())
    (tmp_path / "package.json").write_text('{"scripts": {"start": "node wrong.js"}}')
    found = effective(read([str(tmp_path)]))

    assert found.server is None and isinstance(found.heap_cap_mib, Unknown) and isinstance(found.replicas, Unknown)
    assert {f.harm for f in findings(found)} == {"note"}
    assert any("helthcheck (healthcheck?)" in f.what for f in findings(found))


def test_railway_json_beside_it_is_the_rest_of_a_former_time(tmp_path):
    (tmp_path / "railway.ts").write_text('service("web", { start: "node a.js" })')
    (tmp_path / "railway.json").write_text('{"deploy": {"startCommand": "node b.js", "drainingSeconds": 30}}')
    found = effective(read([str(tmp_path)]))

    assert (found.server.told, found.draining_s) == ("node a.js", 0)
    assert any(f.kind == "rest of a former time" and "2026-12-01" in f.what for f in findings(found))


def test_the_root_of_the_service_is_entered(tmp_path):
    (tmp_path / "railway.ts").write_text('service("web", { source: github("a/b", { rootDirectory: "/apps/web" }) })')
    (tmp_path / "package.json").write_text('{"scripts": {"start": "node wrong.js"}}')
    (tmp_path / "apps/web").mkdir(parents=True)
    (tmp_path / "apps/web/package.json").write_text('{"scripts": {"start": "node right.js"}}')

    assert effective(read([str(tmp_path)])).server.told == "node right.js"


def test_another_language_is_known_and_not_read(tmp_path):
    (tmp_path / ".railway").mkdir()
    (tmp_path / ".railway/railway.py").write_text("raise SystemExit")
    (tmp_path / "package.json").write_text('{"scripts": {"start": "node wrong.js"}}')
    found = effective(read([str(tmp_path)]))

    assert found.server is None and isinstance(found.draining_s, Unknown)
    assert {f.harm for f in findings(found)} == {"note"}


def test_variables_of_the_file_win_over_env_and_env_fills_in_what_is_kept(tmp_path):
    (tmp_path / "railway.ts").write_text('service("web", { env: { A: "1", B: preserve() } })')
    (tmp_path / ".env").write_text("A=2\nB=3\n")

    assert read([str(tmp_path)]).variables == {"A": "1", "B": "3"}


@pytest.mark.parametrize(
    ("memory_bytes", "harm", "numbers"),
    [
        (16e9, "outage", ("to 2,048 MiB", "15,259 MiB", "87 %")),
        (6e9, "outage", ("to 2,048 MiB", "5,722 MiB", "64 %")),
        (1e9, "note", ("to 477 MiB", "954 MiB", "50 %")),
        (2e8, "outage", ("to 256 MiB", "191 MiB", "hangs")),
    ],
)
def test_no_heap_cap_is_told_with_what_was_bought_and_what_v8_will_use(tmp_path, memory_bytes, harm, numbers):
    limit = {"limitOverride": {"containers": {"memoryBytes": memory_bytes}}}
    (tmp_path / "railway.json").write_text(json.dumps({"deploy": {"startCommand": "node a.js", **limit}}))
    (found,) = [f for f in findings(effective(read([str(tmp_path)]))) if f.kind == "no heap cap"]

    assert found.harm == harm and all(number in found.what for number in numbers)
