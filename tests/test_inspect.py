"""`capsim inspect`: configuration as the platform applies it, without running or showing anything of it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.cli import main
from capsim.errors import CapsimError
from capsim.inspect import effective, findings, read
from capsim.inspect.report import schema_text
from capsim.inspect.shell import server_of, shell_form
from capsim.inspect.url import pool_url
from capsim.scenario import load

SCRIPTS = {"start": "node dist/index.js", "capped": "cross-env NODE_OPTIONS=--max-old-space-size=300 node x.js"}
PLAN_START = "NODE_OPTIONS='--max-old-space-size=512' npx prisma migrate deploy && npm start"
BEFORE = "postgresql://user:hunter2@host:port/db"
AFTER = BEFORE + "?connection_limit=10&pool_timeout=20&connect_timeout=10"


def service(folder: Path, url: str = BEFORE, start: str = PLAN_START, **deploy: object) -> Path:
    """A service's folder: railway.json, package.json and .env."""
    (folder / "railway.json").write_text(json.dumps({"deploy": {"startCommand": start, **deploy}}))
    (folder / "package.json").write_text(json.dumps({"scripts": SCRIPTS}))
    (folder / ".env").write_bytes(f"# database\r\nexport DATABASE_URL=\"{url}\" # ours\r\nTOKEN='s3cret'\r\n".encode())
    return folder


def kinds(folder: Path, on: dt.date | None = None) -> set[str]:
    return {finding.kind for finding in findings(effective(read([str(folder)]), on))}


@pytest.mark.parametrize(
    ("command", "cap_mib", "above"),
    [
        (PLAN_START, None, ("sh", "npm")),
        ("NODE_OPTIONS=--max-old-space-size=512 npm start", 512, ("npm",)),
        ("export NODE_OPTIONS=--max-old-space-size=512; npx prisma migrate deploy; exec node a.js", 512, ()),
        ("(export NODE_OPTIONS=--max-old-space-size=512; npx prisma migrate deploy) && node a.js", None, ("sh",)),
        ("NODE_OPTIONS=--max-old-space-size=512 && npm start", None, ("npm",)),  # a shell variable, not exported
        ('env NODE_OPTIONS=--max-old-space-size=77 sh -c "exec node a.js"', 77, ()),
        ("node --max-old-space-size=256 a.js", 256, ()),
        ("NODE_OPTIONS=--max-old-space-size=512 node --max_old_space_size=256 a.js", 256, ()),
        ("node a.js --max-old-space-size=256", None, ()),  # an argument of the script
        ('NODE_OPTIONS="--trace-gc --max-old-space-size=5" yarn start', 5, ("yarn",)),
        ("pnpm run capped", 300, ("pnpm", "cross-env")),
        ("node a.js || echo failed", None, ("sh",)),
        ("node a.js | pino-pretty", None, ("sh",)),
    ],
)
def test_the_server_gets_what_the_shell_would_give_it(command, cap_mib, above):
    server = server_of(shell_form(command, {}, SCRIPTS, "railway.json"))

    assert (server.heap_cap_mib, server.above) == (cap_mib, above)


def test_a_variable_of_the_service_reaches_the_server_unless_it_is_unset():
    env = {"NODE_OPTIONS": "--max-old-space-size=400"}

    assert server_of(shell_form("npm start", env, SCRIPTS, "x")).heap_cap_mib == 400
    assert server_of(shell_form("env -u NODE_OPTIONS node a.js", env, SCRIPTS, "x")).heap_cap_mib is None
    assert server_of(shell_form("unset NODE_OPTIONS; node a.js", env, SCRIPTS, "x")).heap_cap_mib is None


@pytest.mark.parametrize("command", ["node 'hunter2", "for f in hunter2; do node a.js; done", "(node hunter2"])
def test_a_command_that_only_a_run_could_resolve_is_refused_without_being_shown(command):
    with pytest.raises(CapsimError, match=r"railway\.json: ") as caught:
        shell_form(command, {}, {}, "railway.json")

    assert "hunter2" not in str(caught.value)


def test_scripts_that_call_each_other_are_refused():
    with pytest.raises(CapsimError, match="without end"):
        shell_form("npm start", {}, {"start": "npm run again", "again": "npm start"}, "package.json")


def test_the_plan_as_deployed_has_the_findings_that_production_had(tmp_path):
    assert kinds(service(tmp_path)) >= {
        "heap cap misses the server",
        "SIGTERM swallowed",
        "draining 0 s",
        "pool limit missing",
        "pool_timeout missing",
        "connect_timeout missing",
        "format ends on 2026-12-01",
    }


def test_the_manual_step_removes_the_findings_about_the_pool(tmp_path):
    assert not {kind for kind in kinds(service(tmp_path, AFTER)) if "pool" in kind or "connect" in kind}


def test_a_repaired_start_has_none_of_the_findings_about_it(tmp_path):
    start = "npx prisma migrate deploy && exec node --max-old-space-size=512 dist/index.js"
    folder = service(tmp_path, AFTER, start, drainingSeconds="30", healthcheckPath="/health")

    assert not kinds(folder) & {"heap cap misses the server", "no heap cap", "SIGTERM swallowed", "draining 0 s"}


@pytest.mark.parametrize(
    ("memory_bytes", "kind"),
    [
        (512 << 20, "heap cap at or above the limit"),
        (575 << 20, "heap cap just below the limit"),
        (576 << 20, None),
    ],
)
def test_a_heap_cap_needs_64_mib_below_the_limit(tmp_path, memory_bytes, kind):
    limit = {"containers": {"memoryBytes": memory_bytes}}
    folder = service(tmp_path, start="node --max-old-space-size=512 a.js", limitOverride=limit)

    assert {k for k in kinds(folder) if "the limit" in k} == ({kind} if kind else set())


def test_replicas_multiply_the_pool(tmp_path):
    assert "more connections than Postgres lets in" in kinds(service(tmp_path, AFTER, numReplicas=10))
    assert "connections during a deploy" in kinds(service(tmp_path, AFTER, numReplicas=5))


def test_railway_json_ends_on_the_day_that_it_ends(tmp_path):
    folder = service(tmp_path, drainingSeconds=30)

    assert effective(read([str(folder)]), dt.date(2026, 11, 30)).draining_s == 30
    assert effective(read([str(folder)]), dt.date(2026, 12, 1)).draining_s == 0


def test_railway_ts_is_read_for_its_literals_only(tmp_path):
    (tmp_path / ".railway").mkdir()
    (tmp_path / ".railway/railway.ts").write_text(
        """import { service } from "x"; throw new Error("run!");
        export default service("api", { start: 'npm start', replicas: { "us-west2": 2, eu: 1 },
          healthcheck: process.env.CHECK, deploy: { drainingSeconds: 3 }, // why
          env: { NODE_OPTIONS: "--max-old-space-size=512" } });"""
    )
    (tmp_path / "package.json").write_text(json.dumps({"scripts": SCRIPTS}))
    found = effective(read([str(tmp_path)]))

    assert (found.replicas, found.draining_s, found.heap_cap_mib) == (3, 3, 512)
    assert any(f.kind == "not read" and "healthcheck" in f.what for f in findings(found))


def test_a_dockerfile_takes_the_start_command_without_a_shell(tmp_path):
    (tmp_path / "Dockerfile").write_text(
        'FROM node:20\nENV NODE_OPTIONS=--max-old-space-size=300\nCMD ["node", "a.js"]\n'
    )
    found = effective(read([str(tmp_path)]))
    assert (found.heap_cap_mib, found.swallows_sigterm) == (300, None)

    assert "no shell reads it" in kinds(service(tmp_path))


def test_a_reference_to_a_variable_keeps_its_own_parameters():
    url = pool_url("${{Postgres.DATABASE_URL}}?connection_limit=7&pool_timeout=0", ".env")

    assert (url.connection_limit, url.pool_timeout_s) == (7, 0)


@pytest.mark.parametrize("url", [BEFORE + "?connection_limit=hunter2", "mysql://user:hunter2@host/db", "hunter2"])
def test_a_bad_address_is_refused_without_being_shown(url):
    with pytest.raises(CapsimError, match=r"\.env: .*DATABASE_URL") as caught:
        pool_url(url, ".env")

    assert "hunter2" not in str(caught.value)


def test_a_broken_line_of_env_is_named_and_not_shown(tmp_path):
    (tmp_path / ".env").write_text("A=1\n\n=hunter2\n")
    with pytest.raises(CapsimError, match=r"\.env:3: ") as caught:
        read([str(tmp_path)])

    assert "hunter2" not in str(caught.value)


def test_secrets_are_neither_printed_nor_written_and_the_scenario_is_valid(tmp_path):
    folder = service(tmp_path, start="TOKEN=s3cret ./s3cret=x --key s3cret; " + PLAN_START)
    out = tmp_path / "mine.toml"
    for extra in ([], ["--json"]):
        done = CliRunner().invoke(main, ["inspect", str(folder), "--write", str(out), "--on", "2026-02-03", *extra])

        assert done.exit_code == 0, done.output
        assert "hunter2" not in done.output + out.read_text()
        assert "s3cret" not in done.output + out.read_text()
    scenario = load(out)
    assert (scenario.server.pool_limit, scenario.server.node.heap_cap_mib) == (97, "none")
    assert (scenario.server.process.handles_sigterm, scenario.server.process.draining_s) == (False, 0)


def test_writing_needs_a_date_because_todays_is_never_read(tmp_path):
    done = CliRunner().invoke(main, ["inspect", str(service(tmp_path)), "--write", str(tmp_path / "x.toml")])

    assert done.exit_code == 2
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.parametrize("name", ["railway.json", "railway.toml", "package.json", "railway.ts", "other.txt"])
def test_a_file_that_is_not_what_its_name_says_is_bad_input(tmp_path, name):
    (tmp_path / name).write_text("{ hunter2")
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / name)])

    assert done.exit_code == 2
    assert name in done.output and "hunter2" not in done.output


def test_the_committed_schema_is_current():
    kept = Path(__file__).parents[1] / "data/schema/inspection.schema.json"

    assert kept.read_text(encoding="utf-8") == schema_text()
