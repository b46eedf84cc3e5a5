"""What a start command starts, who gets SIGTERM, which heap cap: as Docker, the shells and the builders have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capsim.telemetry.inspect import effective, read
from capsim.telemetry.inspect.dockerfile import read_dockerfile
from capsim.telemetry.inspect.package_scripts import Packages, asked, manager_of, table_of
from capsim.telemetry.inspect.process_tree import shell_of
from capsim.telemetry.inspect.report import findings
from capsim.telemetry.inspect.shell import shell_form
from capsim.telemetry.inspect.shell_state import StartContainer
from capsim.telemetry.inspect.started import main_of, server_of, unshelled

ROOT = {
    "start": "node dist/index.js",
    "exec": "exec node a.js",
    "capped": "cross-env NODE_OPTIONS=--max-old-space-size=300 node x.js",
}
ALPINE, DEBIAN, NAMELESS = "ash", "dash", "sh"


def folder(at: Path, **files: object) -> Path:
    """A service's folder; ``__`` in a name stands for a slash, ``_`` before the ending for a dot."""
    for name, content in files.items():
        path = at / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return at


def started(at: Path, **files: object) -> tuple[object, ...]:
    """Server, process 1, whether SIGTERM reaches it, heap cap [MiB] of a folder."""
    e = effective(read([str(folder(at, **files))]))
    told = {setting.name: setting.value for setting in e.settings()}
    shown = [told[name] for name in ("server", "process 1", "SIGTERM reaches the server", "heap cap [MiB]")]
    return tuple("unknown" if str(value).startswith("unknown") else value for value in shown)


def kinds(at: Path) -> set[str]:
    return {finding.kind for finding in findings(effective(read([str(at)])))}


def of(command: str, sh: str = DEBIAN, shell: str = "bash", packages: Packages | None = None, **env: str):
    steps = shell_form(command, env, "x", StartContainer(sh=sh, packages=packages or table_of(ROOT)), shell)
    return server_of(steps), main_of(steps)


# --- shells: run with dash 0.5.12, bash 5.2.15, busybox 1.35, npm 11.19 on 2026-12-01 ---------------------------------


@pytest.mark.parametrize(
    ("command", "bash", "dash", "ash"),
    [
        ("node a.js", True, False, True),
        ("true && node a.js", True, False, True),
        ("true; A=1 node a.js", True, False, True),
        ("cd x && node a.js", True, False, True),
        ("exec node a.js", True, True, True),
        ("true && exec node a.js", True, True, True),
        ("node a.js 2>&1", False, False, True),
        ("node a.js > /tmp/x", False, False, True),
        ("(node a.js)", False, False, True),
        ("{ true; node a.js; }", False, False, True),
        ("sleep 1 & node a.js", False, False, True),
        ("! node a.js", False, False, False),
        ("node a.js || true", False, False, False),
        ("node a.js; echo x", False, False, False),
        ("node a.js | cat", False, False, False),
        ("node a.js &", False, False, False),
        ("false || node a.js", True, False, True),
        ("env A=1 node a.js", True, False, True),
        ("sh -c 'exec node a.js'", True, False, True),
        ("exec sh -c 'exec node a.js'", True, True, True),
        ("exec bash -c 'node a.js'", True, True, True),
    ],
)
def test_the_shell_decides_whether_it_stays_above_the_server(command, bash, dash, ash):
    for sh, reached in (("bash", bash), ("dash", dash), ("ash", ash)):
        server, _ = of(command, sh=sh, shell=sh)
        assert server.sigterm is reached, sh


@pytest.mark.parametrize(
    ("command", "sh", "above", "sigterm"),
    [
        ("npm start", DEBIAN, ("npm", "dash"), False),
        ("npm start", ALPINE, ("npm",), None),  # by the version of npm
        ("npm run exec", DEBIAN, ("npm",), None),
        ("npm start", NAMELESS, ("npm", "sh"), None),
        ("dumb-init npm start", DEBIAN, ("dumb-init", "npm", "dash"), True),  # signals the process group
        ("dumb-init -c npm start", DEBIAN, ("dumb-init -c", "npm", "dash"), False),
        ("tini -- npm start", DEBIAN, ("tini", "npm", "dash"), False),
        ("tini -g -- npm start", DEBIAN, ("tini -g", "npm", "dash"), True),
        ("tini node a.js", DEBIAN, ("tini",), True),
        ("npx node a.js", DEBIAN, ("npx", "dash"), False),
        ("pnpm run capped", DEBIAN, ("pnpm", "dash", "cross-env"), False),
        ("cross-env A=1 node a.js", DEBIAN, ("cross-env",), True),
        ("doppler run -p x -- node a.js", DEBIAN, ("doppler",), None),
        ("npx dotenv -e .env -- node a.js", DEBIAN, ("npx", "dash", "dotenv"), False),
        ("gosu node node a.js", DEBIAN, (), True),
        ("nohup nice -n 5 node a.js", DEBIAN, (), True),
        ("timeout -k 5 60 node a.js", DEBIAN, ("timeout",), None),
        ("tsx src/a.ts", DEBIAN, (), None),  # the server is a process below it
        ("node --import tsx src/a.ts", DEBIAN, (), True),
        ("node --run start", DEBIAN, ("node --run", "dash"), False),
        ("node --watch a.js", DEBIAN, (), None),
    ],
)
def test_who_stands_above_the_server_and_passes_sigterm_on(command, sh, above, sigterm):
    server, _ = of(command, sh=sh)

    assert (server.above, server.sigterm) == (above, sigterm)


@pytest.mark.parametrize(
    ("image", "shell"),
    [
        ("node:20", "dash"),
        ("node:22-bookworm-slim", "dash"),
        ("docker.io/library/node:20", "dash"),
        ("node:20-alpine3.20", "ash"),
        ("oven/bun:1", "dash"),
        ("ubuntu:24.04", "dash"),
        ("public.ecr.aws/lambda/nodejs:20", "bash"),
        ("registry.access.redhat.com/ubi9/nodejs-20", "bash"),
        ("gcr.io/distroless/nodejs20-debian12", "no shell"),
        ("ghcr.io/us/base:1", "sh"),
        ("", "sh"),
    ],
)
def test_an_image_says_what_its_shell_is_or_nothing(image, shell):
    assert shell_of(image) == shell


# --- Node's options: run with Node 20.20 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "cap_mib", "script"),
    [
        ("node -r dotenv/config --max-old-space-size=300 a.js", 300, "a.js"),
        ("node --require ./tracing.js --max-old-space-size=300 a.js", 300, "a.js"),
        ("node --env-file .env --max-old-space-size=300 a.js", 300, "a.js"),
        ("node --env-file=.env --import tsx --max_old_space_size=300 src/a.ts", 300, "src/a.ts"),
        ("node -C dev --title x --max-old-space-size=300 a.js", 300, "a.js"),
        ("node --enable-source-maps --max-old-space-size=300 dist/main", 300, "dist/main"),
        ("node a.js --max-old-space-size=300", None, "a.js"),
        ("NODE_OPTIONS=--max-old-space-size=300 next start", 300, "start"),
        ("NODE_OPTIONS=--max-old-space-size=300 pm2-runtime a.js", 300, ""),
        ("NODE_OPTIONS='--max-old-space-size=300 --max-old-space-size=400' node a.js", 400, "a.js"),
        ("next start --max-old-space-size=300", None, "start"),  # an option of next
    ],
)
def test_options_with_and_without_values_are_told_apart(command, cap_mib, script):
    server, _ = of(command)

    assert (server.heap_cap.mib, server.heap_cap.known) == (cap_mib, True)
    assert server.told.endswith(script)


@pytest.mark.parametrize(
    "command",
    [
        'NODE_OPTIONS="--max-old-space-size=$(( $MEM / 2 ))" node a.js',
        "node --max-old-space-size=$MEM a.js",
        "NODE_OPTIONS=$(cat opts) node a.js",
        "node $EXTRA a.js",
        "uvicorn app:app",
        "bun src/index.ts",
    ],
)
def test_a_cap_that_was_not_read_is_unknown_and_not_none(command):
    _, main = of(command)

    assert (main.heap_cap.known, main.heap_cap.mib) == (False, None)


def test_a_later_option_and_a_known_variable_make_a_cap_known():
    assert of("NODE_OPTIONS=$EXTRA node --max-old-space-size=300 a.js")[0].heap_cap.mib == 300
    assert of("node --max-old-space-size=$MEM a.js", MEM="300")[0].heap_cap.mib == 300
    assert of("node --max-old-space-size=${MEM:-300} a.js")[0].heap_cap.mib == 300
    assert of('NODE_OPTIONS="$NODE_OPTIONS --max-old-space-size=300" node a.js')[0].heap_cap.mib == 300


def test_a_share_of_the_memory_is_a_cap_where_the_memory_is_known(tmp_path):
    limit = {"limitOverride": {"containers": {"memoryBytes": 1 << 30}}}
    start = {"startCommand": "node --max-old-space-size-percentage=75 --max-old-space-size=9 a.js"}

    assert started(tmp_path, railway_json={"deploy": start})[3] == "unknown"
    assert started(tmp_path, railway_json={"deploy": start | limit})[3] == 768


def test_an_option_that_node_refuses_is_an_outage(tmp_path):
    at = folder(tmp_path, railway_json={"deploy": {"startCommand": "node --max-old-space-size 300 a.js"}})

    assert "Node refuses an option" in kinds(at)


# --- package managers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "cd backend && npm start",
        "npm start --prefix backend",
        "npm --prefix=backend start",
        "npm run start --prefix backend",
        "npm run start -w backend",
        "npm start --workspace=@us/backend",
        "pnpm -C backend start",
        "pnpm --dir backend run start",
        "pnpm --filter @us/backend start",
        "pnpm --filter=backend run start",
        "yarn workspace @us/backend start",
        "yarn --cwd backend start",
        "bun --cwd backend run start",
        "cd backend; exec npm run start -- --port $PORT",
        "(cd backend && npm start)",
        "cd /app/backend && npm start",
    ],
)
def test_another_package_is_followed_where_it_is_given_and_unknown_where_it_is_not(tmp_path, command):
    root = {"start": "node wrong.js", "backend": "node wrong.js"}
    files = {"railway_json": {"deploy": {"startCommand": command}}, "package_json": {"scripts": root}}

    assert started(tmp_path, **files)[0] == "unknown"
    nested = {"name": "@us/backend", "scripts": {"start": "node server.js"}}
    assert started(tmp_path, **files, backend__package_json=nested)[0] == "node server.js"


@pytest.mark.parametrize(
    "command",
    ["pnpm -r start", "npm start -ws", "npx turbo run start", "pnpm --filter './apps/*' start", "cd .. && npm start"],
)
def test_several_packages_or_one_outside_are_never_the_roots_server(tmp_path, command):
    files = {"railway_json": {"deploy": {"startCommand": command}}, "package_json": {"scripts": ROOT}}

    assert started(tmp_path, **files)[0] == "unknown"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("yarn node dist/main.js", "node dist/main.js"),
        ("yarn dlx tsx a.ts", "tsx a.ts"),
        ("pnpm exec node dist/main.js", "node dist/main.js"),
        ("npm exec -- node a.js", "node a.js"),
        ("npx -y --package=x node a.js", "node a.js"),
        ("bunx next start", "next start"),
        ("yarn next start", "next start"),
        ("corepack pnpm start", "node dist/index.js"),
        ("corepack enable && pnpm start", "node dist/index.js"),
        ("npm --silent start", "node dist/index.js"),
        ("npm install --prefix x && npm start", "node dist/index.js"),
    ],
)
def test_the_forms_of_package_managers(command, told):
    assert of(command)[0].told == told


def test_scripts_end_only_where_they_call_each_other_in_a_circle(tmp_path):
    circle = {"start": "npm run again", "again": "npm start"}
    assert "start command unknown" in kinds(folder(tmp_path, package_json={"scripts": circle}))
    nested = {"start": "npm start --workspace=server"}
    at = folder(tmp_path, package_json={"scripts": nested}, server__package_json={"scripts": {"start": "node s.js"}})
    assert started(at)[0] == "node s.js"


def test_npm_start_is_server_js_only_where_package_json_has_no_start(tmp_path):
    docker = 'FROM node:20\nCMD ["npm", "start"]\n'

    assert started(tmp_path, Dockerfile=docker) == ("unknown", "npm", "unknown", "unknown")
    assert started(tmp_path, Dockerfile=docker, package_json={"name": "x"})[0] == "node server.js"


def test_the_package_manager_that_starts_the_server_is_told_by_field_lock_file_or_engines(tmp_path):
    assert started(tmp_path, package_json={"scripts": ROOT})[1] == "npm"
    assert started(tmp_path, yarn_lock="")[1] == "yarn"
    assert started(tmp_path, **{"pnpm-lock_yaml": ""})[1] == "pnpm"
    assert started(tmp_path, package_json={"scripts": ROOT, "packageManager": "bun@1.2.0"})[1] == "bun"
    assert manager_of({"engines": {"pnpm": ">=9"}}, lambda name: False, "RAILPACK") == "pnpm"
    assert manager_of({"packageManager": "pnpm@9"}, lambda name: name == "yarn.lock", "NIXPACKS") == "yarn"


def test_options_of_managers_that_name_a_package():
    assert (asked("npm", ["-w", "a", "start"]).name, asked("npm", ["-w", "a", "-w", "b", "start"]).folder) == (
        "a",
        None,
    )
    assert asked("pnpm", ["--filter", "api...", "start"]).folder is None
    assert asked("yarn", ["install"]).step and asked("yarn", []).step and not asked("yarn", ["start"]).step


# --- Dockerfile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('ENTRYPOINT ["dumb-init","--"]\nCMD ["node","a.js"]', ("dumb-init", "--", "node", "a.js")),
        ('ENTRYPOINT ["node"]\nCMD ["a.js"]', ("node", "a.js")),
        ('ENTRYPOINT ["tini","--"]\nCMD node a.js', ("tini", "--", "/bin/sh", "-c", "node a.js")),
        ('CMD ["b.js"]\nENTRYPOINT node a.js', ("/bin/sh", "-c", "node a.js")),
        ('CMD ["b.js"]\nENTRYPOINT ["node"]', ("node", "b.js")),
        ('SHELL ["/bin/bash","-o","pipefail","-c"]\nCMD node a.js', ("/bin/bash", "-o", "pipefail", "-c", "node a.js")),
        ('cmd\t["node",\\\n # why\n\n  "a.js"]', ("node", "a.js")),
        ('CMD ["node","a.js"]\nRUN <<EOF\nCMD ["no"]\nEOF\nHEALTHCHECK CMD curl x', ("node", "a.js")),
        ('CMD ["node","b.js"]\nCMD ["node","a.js"]', ("node", "a.js")),
        ('ENTRYPOINT []\nCMD ["node","a.js"]', ("node", "a.js")),
        ('CMD ["node","a.js"]\nFROM base\nRUN true', ("node", "a.js")),
        ('CMD ["node","a.js"]\nFROM base\nENTRYPOINT ["tini"]', ("tini",)),  # an inherited CMD is forgotten
        ('CMD ["node","a.js"]\nFROM scratch\nENTRYPOINT ["/app"]', ("/app",)),
        ("RUN true", ("node",)),  # what the image of Node starts by itself
    ],
)
def test_entrypoint_and_cmd_are_joined_as_docker_joins_them(text, words):
    assert read_dockerfile(f"FROM node:20 AS base\n{text}\n", {}).words == words


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("ENV NODE_OPTIONS=--max-old-space-size=300", "--max-old-space-size=300"),
        ("ENV NODE_OPTIONS --max-old-space-size=300", "--max-old-space-size=300"),
        ('ENV A=1 \\\n  # cap\n  NODE_OPTIONS="--max-old-space-size=300"', "--max-old-space-size=300"),
        ("ENV NODE_OPTIONS=--max-old-space-size=300\nFROM base AS run", "--max-old-space-size=300"),
        ('ARG CAP=300\nENV NODE_OPTIONS="--max-old-space-size=${CAP}"', "--max-old-space-size=300"),
        ("ARG OUT\nENV NODE_OPTIONS=--max-old-space-size=$OUT", "--max-old-space-size=300"),
        ("ENV A=300\nENV NODE_OPTIONS=--max-old-space-size=${A:-1}", "--max-old-space-size=300"),
        ("ENV NODE_OPTIONS=--max-old-space-size=${A:-300}", "--max-old-space-size=300"),
        ("ENV NODE_OPTIONS=--trace-gc\\ --max-old-space-size=300", "--trace-gc --max-old-space-size=300"),
        ("ENV NODE_OPTIONS='$A'", "$A"),
        ("ENV\tNODE_OPTIONS=a\r", "a"),
    ],
)
def test_env_is_read_in_all_its_forms(text, options):
    assert read_dockerfile(f"ARG OUT=300\nFROM node:20 AS base\n{text}\n", {}).env["NODE_OPTIONS"] == options


def test_a_variable_of_the_service_is_the_value_of_an_arg_and_wins_over_env():
    text = "FROM node:20\nARG CAP=6144\nENV NODE_OPTIONS=--max-old-space-size=$CAP\n"

    assert read_dockerfile(text, {"CAP": "200"}).env["NODE_OPTIONS"].endswith("=200")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM node:20\nCMD node a.js", ("node a.js", "dash", False, "none")),
        ("FROM node:20-alpine\nCMD node a.js", ("node a.js", "node", True, "none")),
        ("FROM ghcr.io/us/base\nCMD node a.js", ("node a.js", "sh", "unknown", "none")),
        ('FROM node:20\nCMD ["node","a.js"]', ("node a.js", "node", True, "none")),
        ('FROM node:20\nENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["node","a.js"]', ("node a.js", "node", True, "none")),
        ('FROM node:20\nENTRYPOINT ["tini","--"]\nCMD node a.js', ("node a.js", "tini", False, "none")),
        ('FROM node:20\nCMD ["sh","-c","true && exec node a.js"]', ("node a.js", "node", True, "none")),
        ('FROM gcr.io/distroless/nodejs20-debian12\nCMD ["a.js"]', ("node a.js", "node", True, "none")),
        ('FROM python:3.12\nCMD ["uvicorn","a:b"]', ("unknown", "uvicorn", "unknown", "unknown")),
        ("FROM node:20\nARG C\nENV NODE_OPTIONS=--max-old-space-size=$C", ("node", "node", True, "unknown")),
    ],
)
def test_a_dockerfile_says_server_process_1_sigterm_and_cap(tmp_path, text, expected):
    assert started(tmp_path, Dockerfile=text) == expected


def test_an_entrypoint_of_ones_own_is_read_if_it_was_given_and_unknown_if_not(tmp_path):
    copied = "FROM node:20\nCOPY docker-entrypoint.sh /usr/local/bin/\n"
    docker = copied + 'ENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["node","a.js"]\n'

    assert started(tmp_path, Dockerfile=docker)[:3] == ("unknown", "docker-entrypoint.sh", "unknown")
    script = '#!/bin/sh\nset -e\nnpx prisma migrate deploy\nexec "$@"\n'
    assert started(tmp_path, **{"docker-entrypoint_sh": script})[:3] == ("node a.js", "node", True)
    assert started(tmp_path, **{"docker-entrypoint_sh": script.replace("exec ", "")})[:3] == (
        "node a.js",
        "dash",
        False,
    )


def test_a_dockerfile_elsewhere_is_read_or_missed(tmp_path):
    build = {"build": {"builder": "DOCKERFILE", "dockerfilePath": "/docker/Dockerfile"}}
    files = {"railway_json": build, "package_json": {"scripts": {"start": "node wrong.js"}}}

    assert started(tmp_path, **files) == ("unknown",) * 4
    assert "start command unknown" in kinds(tmp_path)
    assert started(tmp_path, docker__Dockerfile='FROM node:20\nCMD ["node","a.js"]')[0] == "node a.js"


def test_a_dockerfile_that_a_variable_names_is_not_replaced_by_package_json(tmp_path):
    (tmp_path / ".env").write_text("RAILWAY_DOCKERFILE_PATH=ci/Dockerfile\n")

    assert started(tmp_path, package_json={"scripts": ROOT})[0] == "unknown"


def test_the_package_of_a_copied_folder_is_the_one_that_is_started(tmp_path):
    docker = 'FROM node:20\nWORKDIR /srv\nCOPY backend/package.json ./\nCOPY backend/ .\nCMD ["npm","start"]\n'
    files = {"package_json": {"scripts": {"start": "node wrong.js"}}, "Dockerfile": docker}

    assert started(tmp_path, **files)[0] == "unknown"
    assert started(tmp_path, backend__package_json={"scripts": {"start": "node right.js"}})[0] == "node right.js"


def test_without_its_dockerfile_the_cap_of_a_start_command_is_unknown(tmp_path):
    railway = {
        "build": {"builder": "DOCKERFILE"},
        "deploy": {"startCommand": '/bin/sh -c "exec node a.js --port $PORT"'},
    }

    assert started(tmp_path, railway_json=railway) == ("node a.js", "node", True, "unknown")
    assert "Dockerfile not given" in kinds(tmp_path)
    assert "another program beside it" in kinds(
        folder(tmp_path, railway_json={"deploy": {"startCommand": "node a.js & node b.js"}})
    )


def test_a_command_of_the_service_replaces_entrypoint_and_cmd(tmp_path):
    docker = 'FROM node:20\nENTRYPOINT ["tini","--"]\nCMD ["node","a.js"]\n'

    found = started(tmp_path, Dockerfile=docker, railway_json={"deploy": {"startCommand": "node b.js"}})
    assert found[:3] == ("node b.js", "node", True)


# --- words that only a shell understands ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["npx", "prisma", "migrate", "deploy", "&&", "node", "a.js"], True),
        (["node", "a.js", "--port", "$PORT"], True),
        (["NODE_ENV=x", "node", "a.js"], True),
        (["node", "a.js;"], True),
        (["sh", "-c", "true && exec node a.js --port $PORT"], False),
        (["/bin/sh", "-c", "exec node a.js --port $PORT"], False),
        (["dumb-init", "--", "bash", "-lc", "a; b"], False),
        (["nginx", "-g", "daemon off;"], False),
    ],
)
def test_only_single_words_of_a_program_that_is_no_shell_are_judged(words, wrong):
    assert unshelled(words) is wrong


# --- which command ----------------------------------------------------------------------------------------------------

RAILPACK = {
    "railway_json": {"deploy": {"startCommand": "node 1.js"}},
    "railpack_json": {"deploy": {"startCommand": "node 2.js"}},
    "_env": "RAILPACK_START_CMD=node 3.js\n",
    "Procfile": "worker: node w.js\nweb: node 4.js\n",
    "package_json": {"scripts": {"start": "node 5.js"}, "main": "6.js"},
}


@pytest.mark.parametrize("first", range(5))
def test_railpacks_order(tmp_path, first):
    files = dict(list(RAILPACK.items())[first:])

    assert started(tmp_path, **files)[0] == f"node {first + 1}.js"


def test_railpack_without_a_script_takes_main_then_index(tmp_path):
    assert started(tmp_path, package_json={"main": "lib/6.js"})[0] == "node lib/6.js"
    assert started(tmp_path, package_json={}, index_js="")[0] == "node index.js"
    assert started(tmp_path, package_json={"packageManager": "bun@1"})[1] == "bun"


def test_nixpacks_order(tmp_path):
    (tmp_path / ".env").write_text("NIXPACKS_START_CMD=node 1.js\n")
    files = {
        "railway_json": {"build": {"builder": "NIXPACKS"}},
        "nixpacks_toml": '[start]\ncmd = "node 2.js"\n',
        "Procfile": "web: node 3.js\n",
        "package_json": {"scripts": {"start": "node 4.js"}},
    }
    assert started(tmp_path, **files)[0] == "node 1.js"
    for name, script in ((".env", "2.js"), ("nixpacks.toml", "3.js"), ("Procfile", "4.js")):
        (tmp_path / name).unlink()
        assert started(tmp_path)[0] == f"node {script}"


def test_a_file_that_only_nixpacks_reads_is_followed_with_a_note(tmp_path):
    at = folder(tmp_path, nixpacks_toml='[start]\ncmd = "node 2.js"\n', package_json={"scripts": ROOT})

    assert started(at)[0] == "node 2.js"
    assert "builder not certain" in kinds(at)
    folder(at, railway_json={"build": {"builder": "RAILPACK"}})
    assert started(at)[0] == "node dist/index.js"


@pytest.mark.parametrize(
    "command",
    [
        "if [ -f x ]; then node a.js; fi",
        '[ "$ROLE" = worker ] && node worker.js || node server.js',
        "test -f x && node a.js",
        "until npx prisma migrate deploy; do sleep 1; done; node a.js",
        "node 'a.js",
        ["node", "a.js"],
    ],
)
def test_a_start_that_was_not_read_is_a_finding_and_all_else_is_told(tmp_path, command):
    scripts = {"scripts": {"start": "node wrong.js"}}
    deploy = {"startCommand": command, "drainingSeconds": 7}

    assert started(tmp_path, package_json=scripts, railway_json={"deploy": deploy}) == ("unknown",) * 4
    assert "start command unknown" in kinds(tmp_path)
    assert effective(read([str(tmp_path)])).draining_s == 7


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("A=ab; " + "A=$A$A; " * 60 + "node $A", "comes to more than 10,000 characters"),
        ("a&&" * 3_000 + "a", "too long a chain of &&"),
    ],
)
def test_a_start_without_an_end_is_told_with_its_remedy(tmp_path, command, says):
    found = findings(effective(read([str(folder(tmp_path, railway_json={"deploy": {"startCommand": command}}))])))

    assert any(says in f.what and f.remedy for f in found if f.kind == "start command unknown")


@pytest.mark.parametrize("command", ['CMD [1], "words": 3', "CMD [1]", "CMD ['node', 'a.js']", "CMD " + "a?" * 8_000])
def test_a_command_that_docker_would_hand_to_a_shell_as_it_stands_is_a_finding(tmp_path, command):
    assert "start command unknown" in kinds(folder(tmp_path, Dockerfile=f"FROM node:20\n{command}\n"))


def test_programs_side_by_side():
    server, main = of("node worker.js & node server.js")
    assert (server.told, main.process_1) == ("node server.js", "bash")
    assert of('concurrently -n a,b "node worker.js" "node server.js"') == (None, None)
    assert of("node a.js & node b.js & wait") == (None, None)
    assert of("node scripts/seed.js && uvicorn a:b")[0] is None  # the last one serves
    assert of("npx prisma db push 2>&1 | tee /tmp/m.log; node server.js")[0].told == "node server.js"


def test_no_secret_of_a_start_command_is_told(tmp_path):
    command = "TOKEN=hunter2 ./hunter2 --key hunter2 && node --token=hunter2 a.js hunter2 || exec hunter2"
    e = effective(read([str(folder(tmp_path, railway_json={"deploy": {"startCommand": command}}))]))

    assert "hunter2" not in repr([(s.name, s.value) for s in e.settings()]) + repr(findings(e))
