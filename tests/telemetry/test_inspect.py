"""`capsim inspect`: configuration as the platform applies it, without running or showing anything of it."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.base.units import LONGEST_S
from capsim.cli import main
from capsim.scenario.file import load
from capsim.scenario.scenario import Scenario
from capsim.telemetry.inspect import effective, findings, read
from capsim.telemetry.inspect.node_version import node_version
from capsim.telemetry.inspect.package_scripts import table_of
from capsim.telemetry.inspect.pool import pool_of
from capsim.telemetry.inspect.report import schema_text
from capsim.telemetry.inspect.shell import shell_form
from capsim.telemetry.inspect.shell_state import StartContainer
from capsim.telemetry.inspect.started import Started, server_of
from capsim.telemetry.inspect.unknown import Unknown
from capsim.telemetry.inspect.url import address_of

SCRIPTS = {"start": "node dist/index.js", "capped": "cross-env NODE_OPTIONS=--max-old-space-size=300 node x.js"}
PLAN_START = "NODE_OPTIONS='--max-old-space-size=512' npx prisma migrate deploy && npm start"
BEFORE = "postgresql://user:hunter2@host:port/db"
AFTER = BEFORE + "?connection_limit=10&pool_timeout=20&connect_timeout=10"


def service(folder: Path, url: str = BEFORE, start: str = PLAN_START, **deploy: object) -> Path:
    """A service's folder: railway.json, package.json and .env."""
    (folder / "railway.json").write_text(json.dumps({"deploy": {"startCommand": start, **deploy}}))
    package = {"scripts": SCRIPTS, "dependencies": {"@prisma/client": "^6.2.0"}}
    (folder / "package.json").write_text(json.dumps(package))
    (folder / ".env").write_bytes(f"# database\r\nexport DATABASE_URL=\"{url}\" # ours\r\nTOKEN='s3cret'\r\n".encode())
    return folder


def kinds(folder: Path, on: dt.date | None = None) -> set[str]:
    return {finding.kind for finding in findings(effective(read([str(folder)]), on))}


def server(command: str, env: dict[str, str] | None = None) -> Started:
    """The server of a start command as Railpack's image runs it."""
    found = server_of(shell_form(command, env or {}, "railway.json", StartContainer(packages=table_of(SCRIPTS))))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("command", "cap_mib", "above"),
    [
        (PLAN_START, None, ("npm", "dash")),
        ("NODE_OPTIONS=--max-old-space-size=512 npm start", 512, ("npm", "dash")),
        ("export NODE_OPTIONS=--max-old-space-size=512; npx prisma migrate deploy; exec node a.js", 512, ()),
        ("(export NODE_OPTIONS=--max-old-space-size=512; npx prisma migrate deploy) && node a.js", None, ()),
        ("NODE_OPTIONS=--max-old-space-size=512 && npm start", None, ("npm", "dash")),  # a shell variable, not exported
        ('env NODE_OPTIONS=--max-old-space-size=77 sh -c "exec node a.js"', 77, ()),
        ("node --max-old-space-size=256 a.js", 256, ()),
        ("NODE_OPTIONS=--max-old-space-size=512 node --max_old_space_size=256 a.js", 256, ()),
        ("node a.js --max-old-space-size=256", None, ()),  # an argument of the script
        ('NODE_OPTIONS="--trace-gc --max-old-space-size=5" yarn start', 5, ("yarn", "dash")),
        ("pnpm run capped", 300, ("pnpm", "dash", "cross-env")),
        ("node a.js || echo failed", None, ("bash",)),
        ("node a.js | pino-pretty", None, ("bash",)),
    ],
)
def test_the_server_gets_what_the_shell_would_give_it(command, cap_mib, above):
    found = server(command)

    assert (found.heap_cap.mib, found.above) == (cap_mib, above)


def test_a_variable_of_the_service_reaches_the_server_unless_it_is_unset():
    env = {"NODE_OPTIONS": "--max-old-space-size=400"}

    assert server("npm start", env).heap_cap.mib == 400
    assert server("env -u NODE_OPTIONS node a.js", env).heap_cap.mib is None
    assert server("unset NODE_OPTIONS; node a.js", env).heap_cap.mib is None


@pytest.mark.parametrize("command", ["node 'hunter2", "for f in hunter2; do node a.js; done", "(node hunter2"])
def test_a_command_that_only_a_run_could_resolve_is_refused_without_being_shown(command):
    with pytest.raises(CapsimError, match=r"railway\.json: ") as caught:
        shell_form(command, {}, "railway.json", StartContainer())

    assert "hunter2" not in str(caught.value)


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
        (578 << 20, "heap cap just below the limit"),
        (579 << 20, None),
    ],
)
def test_a_heap_cap_needs_some_of_the_limit_beside_it(tmp_path, memory_bytes, kind):
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
    assert (found.heap_cap_mib, found.sigterm) == (300, True)

    assert "no shell reads it" in kinds(service(tmp_path))


def test_a_reference_to_a_variable_keeps_its_own_parameters():
    url = address_of("${{Postgres.DATABASE_URL}}?connection_limit=7&pool_timeout=0")
    names = ("connection_limit", "pool_timeout", "connect_timeout")

    assert [url.number(name, 0, ".env") for name in names] == [7, 0, None]


# --- addresses and pools

P6 = {"@prisma/client": "^6.2.0"}
P7 = {"@prisma/client": "^7.3.0", "@prisma/adapter-pg": "^7.3.0"}


def of(packages: dict[str, str] | None, url: str | None, **more: object) -> tuple[object, ...]:
    """Limit, longest wait for a connection and for opening one; "?" where it is unknown."""
    pool = pool_of(packages, None if url is None else address_of(url), ".env:1", **more)
    values = (pool.limit, pool.acquire, pool.connect)
    return tuple("?" if isinstance(v.number, Unknown) else v.number for v in values)


@pytest.mark.parametrize(
    ("packages", "url", "expected"),
    [
        (P6, BEFORE, (97, 10, 5)),
        (P6, AFTER, (10, 20, 10)),
        (P6, BEFORE + "?pool_timeout=0", (97, None, 5)),
        (P6, None, ("?", "?", "?")),
        (P6, "${{shared.DATABASE_URL}}", ("?", "?", "?")),
        (P6, "${{shared.DATABASE_URL}}?connection_limit=4", (4, "?", "?")),
        (P6, "${{Postgres.DATABASE_URL}}", (97, 10, 5)),
        (P6, BEFORE + "?connection_limit=${LIMIT}", ("?", 10, 5)),
        (P6, "prisma://accelerate.prisma-data.net/?api_key=hunter2", ("?", "?", "?")),
        (P7, AFTER, (10, None, None)),
        (P7, None, (10, None, None)),
        ({"@prisma/client": "7.1.0"}, AFTER, ("?", "?", "?")),  # an adapter that package.json does not name
        ({"@prisma/client": "6.9.0", "@prisma/adapter-pg": "6.9.0"}, AFTER, (10, None, None)),
        ({"@prisma/client": "latest"}, BEFORE, ("?", "?", "?")),
        ({"@prisma/client": "latest"}, AFTER, (10, 20, 10)),
        ({"pg": "^8.11.0"}, AFTER, (10, None, None)),
        ({"drizzle-orm": "^0.40.0", "postgres": "^3.4.0"}, BEFORE + "?max=4", (4, None, 30)),
        ({"knex": "3.1.0", "pg": "8"}, BEFORE, (10, 60, None)),
        ({"sequelize": "6", "pg": "8"}, BEFORE, (5, 60, None)),
        ({"typeorm": "0.3.20", "pg": "8"}, BEFORE, (10, None, None)),
        ({"express": "5"}, BEFORE, ("?", "?", "?")),
        (None, BEFORE, ("?", "?", "?")),
        (None, BEFORE + "?connection_limit=5", (5, "?", "?")),  # Prisma's own name
    ],
)
def test_the_pool_is_that_of_the_driver_and_its_version(packages, url, expected):
    assert of(packages, url) == expected


def test_prisma_in_a_step_is_prisma_of_an_unknown_version():
    assert of(None, BEFORE, runs_prisma=True) == ("?", "?", "?")
    assert of(None, AFTER, runs_prisma=True) == (10, 20, 10)


@pytest.mark.parametrize(
    ("url", "kind", "what"),
    [
        ("mysql://user:hunter2@host/db", "no Postgres", "MySQL"),
        ("file:./dev.db", "no Postgres", "SQLite"),
        ("mongodb+srv://user:hunter2@host/db", "no Postgres", "MongoDB"),
        ("your_hunter2_here", "DATABASE_URL not read", "placeholder"),
        ("${DATABASE_URL}", "DATABASE_URL not read", "reference"),
        ("prisma+postgres://accelerate.prisma-data.net/?api_key=hunter2", "pool elsewhere", "Prisma's own service"),
        ("postgresql://user:hun#ter2@host/db?connection_limit=10", "not a valid address", "raw #"),
        ("postgresql://user:hun?ter2@host/db?connection_limit=10", "not a valid address", "raw ?"),
        ("postgresql://user:hun/ter2@host/db", "not a valid address", "raw /"),
        ("postgresql://user:hun%ter2@host/db", "not a valid address", "raw %"),
        (BEFORE + "?a=1&amp;connection_limit=10", "not a valid address", "&amp;"),
        (BEFORE + "?schema=public?connection_limit=10", "not a valid address", "second ?"),
        (BEFORE + "?schema=public;connection_limit=10", "not a valid address", "a ;"),
        ("${{Postgres.DATABASE_URL}}&connection_limit=10", "not a valid address", "needs a ?"),
        (BEFORE + "?connection_limit=hunter2", "pool size not read", "no whole number"),
        (BEFORE + "?connection_limit=${LIMIT}", "pool size not read", "reference"),
        ("${{Postgres.DATABASE_PUBLIC_URL}}?connection_limit=5", "database over the public proxy", "egress"),
        (
            "postgresql://u:p@${{RAILWAY_TCP_PROXY_DOMAIN}}:5/db?connection_limit=5",
            "database over the public proxy",
            "egress",
        ),
        (BEFORE + "?pgbouncer=true", "behind a pooler", "PgBouncer's"),
        ("postgresql://u:p@ep-a-pooler.eu.aws.neon.tech/db", "behind a pooler", "Neon's"),
        ("postgresql://u:p@aws-0.pooler.supabase.com:5432/db", "behind a pooler", "Supabase's"),
        ("postgresql://u:p@host:6543/db", "behind a pooler", "a pooler's"),
    ],
)
def test_an_odd_address_is_a_finding_at_its_place_and_the_rest_is_read(tmp_path, url, kind, what):
    folder = service(tmp_path, url)
    found = findings(effective(read([str(folder)])))
    (finding,) = [f for f in found if f.kind == kind]

    assert finding.place.endswith(".env:2") and what in finding.what
    assert "draining 0 s" in {f.kind for f in found}
    assert not any(f.harm == "outage" for f in found if "connections" in f.kind or "pool limit" in f.kind)
    assert all(text not in str(found) for text in ("hunter2", "ter2"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@[::1]:5432/db?connection_limit=5",
        "postgresql://u:p%40%23@h/db?connection_limit=5",
        "postgresql://u:p@%2Fvar%2Frun/db?connection_limit=5",
        "postgresql://u:p@a:5432,b:5432/db?connection_limit=5",
        "POSTGRES://h/db?connection_limit=5&schema=a",
        "postgresql://h:5432?user=me@example&connection_limit=5",
        "postgresql://${{PGUSER}}:${{PGPASSWORD}}@${{PGHOST}}:5432/${{PGDATABASE}}?connection_limit=5",
    ],
)
def test_addresses_that_are_right_are_read(url):
    assert of(P6, url) == (5, 10, 5)


def test_findings_about_prisma_are_where_prisma_is(tmp_path):
    package = {"scripts": {"start": "node a.js"}, "dependencies": {"hono": "4"}}
    (tmp_path / "package.json").write_text(json.dumps(package))

    found = [f for f in findings(effective(read([str(tmp_path)]))) if "pool" in f.what or "Prisma" in f.what]
    assert [(f.kind, f.harm) for f in found] == [("no Postgres", "note")]
    assert "package.json depends on none of the Postgres drivers" in found[0].what


def test_of_prisma_7_the_address_does_nothing_and_the_remedy_is_the_adapters(tmp_path):
    folder = service(tmp_path, BEFORE + "?connection_limit=50")
    (folder / "package.json").write_text(json.dumps({"dependencies": P7, "scripts": SCRIPTS}))
    found = {f.kind: f for f in findings(effective(read([str(folder)])))}

    assert "connection_limit in DATABASE_URL" in found["address does not set the pool"].what
    assert "new PrismaPg({ connectionString, max: 10, connectionTimeoutMillis" in found["no timeout of the pool"].remedy
    assert not found.keys() & {"pool limit missing", "pool_timeout missing", "connections during a deploy"}
    rows = {setting.name: setting.value for setting in effective(read([str(folder)])).settings()}
    assert (rows["pool: connection_limit"], rows["pool: pool_timeout [s]"]) == (10, "none")
    assert rows["pool: idle connections close after [s]"] == 10


@pytest.mark.parametrize(
    "url", ["mysql://user:hunter2@host/db", "prisma://accelerate.prisma-data.net/?api_key=hunter2"]
)
def test_an_address_of_another_database_may_be_given_by_itself(url):
    done = CliRunner().invoke(main, ["inspect", url])

    assert done.exit_code == 0 and "hunter2" not in done.output
    assert "[note] no Postgres (the address given)" in done.output or "[note] pool elsewhere" in done.output


def test_railways_own_address_is_said_to_have_no_parameters(tmp_path):
    found = {f.kind: f for f in findings(effective(read([str(service(tmp_path, "${{Postgres.DATABASE_URL}}"))])))}

    assert "Railway's own address, which has no parameters" in found["pool limit missing"].what


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
    kept = Path(__file__).parents[2] / "data/schema/inspection.schema.json"

    assert kept.read_text(encoding="utf-8") == schema_text()


# --- the scenario that is written


def wrote(folder: Path, *options: str) -> tuple[Scenario, str]:
    out = folder / "mine.toml"
    done = CliRunner().invoke(main, ["inspect", str(folder), "--write", str(out), "--on", "2026-02-03", *options])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, ["scenario", "check", str(out)]).exit_code == 0
    return load(out), out.read_text()


def test_everything_that_a_scenario_has_a_key_for_is_written_with_its_place(tmp_path):
    limit = {"containers": {"memoryBytes": 16_000_000_000, "cpu": 4}}
    folder = service(tmp_path, AFTER, "exec node --max-old-space-size=512 a.js", limitOverride=limit, numReplicas=2,
                     drainingSeconds=30, overlapSeconds=5, restartPolicyMaxRetries=3)  # fmt: skip
    (folder / "package.json").write_text(json.dumps({"dependencies": P6, "engines": {"node": "24.x"}}))
    (folder / ".env").write_text((folder / ".env").read_text() + "LOG_LEVEL=info\n")
    scenario, text = wrote(folder, "--plan", "pro")
    server = scenario.server

    assert (server.container.memory_limit_mib, server.container.cpu) == (15_258, 4)
    assert (server.node.version, server.node.heap_cap_mib, server.logger.level) == (24, 512, "info")
    assert (server.pool.limit, server.pool.pool_timeout_s, server.pool.connect_timeout_s) == (10, 20, 10)
    process = server.process
    assert (process.replicas, process.draining_s, process.overlap_s, process.restarts_max) == (2, 30, 5, 3)
    assert (process.handles_sigterm, scenario.billing.plan) == (True, "pro")
    for line, place in (("cpu = 4.0", "limitOverride.cpu"), ("version = 24", "engines.node"), ("limit = 10", ".env:2")):
        (found,) = [each for each in text.splitlines() if each.startswith(line + " ")]
        assert "#" in found and place in found
    assert 'of the example "after-as-deployed"' in text and "hunter2" not in text


def test_what_is_unknown_is_written_as_such_with_its_bad_case(tmp_path):
    folder = service(tmp_path, "${{shared.DATABASE_URL}}", "./run-it")
    scenario, text = wrote(folder)

    assert (scenario.server.pool.limit, scenario.server.process.handles_sigterm) == ("default", False)
    unknown = [line.split(" = ")[0] for line in text.splitlines() if "# unknown (" in line and "the bad case" in line]
    assert set(unknown) >= {"limit", "pool_timeout_s", "connect_timeout_s", "heap_cap_mib", "handles_sigterm"}


def test_a_pool_without_a_timeout_is_written_as_one_of_a_year_and_says_so(tmp_path):
    folder = service(tmp_path, AFTER)
    (folder / "package.json").write_text(json.dumps({"dependencies": P7, "scripts": SCRIPTS}))
    scenario, text = wrote(folder)

    assert (scenario.server.pool.limit, scenario.server.pool.pool_timeout_s) == (10, LONGEST_S)
    assert "a call waits without an end" in text


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        ("package.json", '{"engines": {"node": ">=20"}}', "unknown"),
        ("package.json", '{"engines": {"node": ">=24 <25"}}', 24),
        ("package.json", '{"engines": {"node": "^22.11.0"}}', 22),
        (".nvmrc", "v20.11.1\n", 20),
        ("Dockerfile", 'FROM --platform=linux/amd64 node:24-slim AS base\nFROM base\nCMD ["node", "a.js"]\n', 24),
        ("Dockerfile", 'ARG NODE=24\nFROM node:${NODE}-slim\nCMD ["node", "a.js"]\n', 24),
        ("Dockerfile", 'FROM docker.io/library/node:20.11-alpine\nCMD ["node", "a.js"]\n', 20),
        ("Dockerfile", 'FROM oven/bun:1\nCMD ["bun", "a.ts"]\n', "unknown"),
        (".env", "NIXPACKS_NODE_VERSION=20\n", 20),
    ],
)
def test_the_version_of_node_is_read_where_it_is_said(tmp_path, file, text, version):
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / file).write_text(text)
    e = effective(read([str(tmp_path)]))
    found, _ = node_version(e.declared, e.start)

    assert ("unknown" if isinstance(found, Unknown) else found) == version


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("node --max-semi-space-size=64 a.js", 64),
        ("node -r ./tracing.js --max_semi_space_size=32 a.js", 32),
        ("NODE_OPTIONS=--max-semi-space-size=16 node a.js", 16),
        ("NODE_OPTIONS=--max-semi-space-size=16 node --max-semi-space-size=64 a.js", 64),
        ("node a.js --max-semi-space-size=64", "default"),  # the script's own
    ],
)
def test_the_semi_space_is_written(tmp_path, start, expected):
    scenario, _ = wrote(service(tmp_path, AFTER, start))

    assert scenario.server.node.semi_space_mib == expected


def test_a_job_is_no_server_and_is_not_written(tmp_path):
    folder = service(tmp_path, cronSchedule="0 * * * *")
    done = CliRunner().invoke(main, ["inspect", str(folder), "--write", str(tmp_path / "x.toml"), "--on", "2026-02-03"])

    assert done.exit_code == 2 and "cronSchedule" in done.output and not (tmp_path / "x.toml").exists()


CASES = Path(__file__).parents[1] / "data/cases/inspect"


def test_every_folder_is_written_as_a_valid_scenario_or_refused_in_one_line(tmp_path):
    out = tmp_path / "mine.toml"
    for folder in sorted(path for path in CASES.iterdir() if path.is_dir()):
        done = CliRunner().invoke(main, ["inspect", str(folder), "--write", str(out), "--on", "2026-11-01"])

        if done.exit_code == 0:
            assert CliRunner().invoke(main, ["scenario", "check", str(out)]).exit_code == 0, folder
            out.unlink()
        else:
            assert (done.exit_code, done.output.count("\n"), out.exists()) == (2, 1, False), (folder, done.output)


def test_a_start_that_was_not_read_is_not_said_to_migrate_nothing(tmp_path):
    (tmp_path / ".env").write_text("A=1\n")
    scenario, text = wrote(tmp_path)

    assert scenario.server.process.migration_s == 5
    assert re.search(r"migration_s = 5.0  # unknown .* the bad case is taken: it migrates", text)
