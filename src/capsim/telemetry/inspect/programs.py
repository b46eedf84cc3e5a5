"""Programs by what they are: written in Node, another runtime, a step before the server, or a starter of others."""

from __future__ import annotations

MANAGERS = ("npm", "pnpm", "yarn", "bun")
SHELLS = ("sh", "bash", "dash", "ash", "zsh")

# The server runs in this very process.
NODE = ("node", "nodejs", "ts-node", "next", "nuxt", "nuxi", "remix-serve", "react-router-serve", "astro", "vite",
        "strapi", "medusa", "fastify", "json-server", "http-server", "serve", "node-red", "directus", "ghost",
        "sails", "payload", "keystone", "vinxi", "esno", "esmo", "vite-node", "babel-node", "swc-node")  # fmt: skip
# Written in Node, and the server runs in a process below it, or in several.
STARTERS = ("tsx", "nodemon", "ts-node-dev", "tsnd", "nest", "pm2", "pm2-runtime", "pm2-docker", "forever", "turbo",
            "nx", "lerna", "concurrently", "npm-run-all", "run-p", "run-s", "wireit", "moon")  # fmt: skip
# Whose own options are Node's.
TAKES_NODE_OPTIONS = ("node", "nodejs", "tsx", "nodemon", "ts-node-dev", "tsnd")
SEVERAL = ("turbo", "nx", "lerna", "npm-run-all", "run-p", "run-s", "wireit", "moon")  # which server is in other files
OTHERS = (
    "bun", "deno", "python", "python3", "uvicorn", "gunicorn", "hypercorn", "daphne", "uwsgi", "waitress-serve",
    "flask", "fastapi", "streamlit", "celery", "uv", "poetry", "pipenv", "java", "php", "php-fpm", "artisan",
    "apache2-foreground", "frankenphp", "nginx", "caddy", "httpd", "haproxy", "traefik", "go", "ruby", "rails",
    "bundle", "puma", "unicorn", "rackup", "elixir", "mix", "dotnet", "cargo", "supervisord", "postgres",
    "redis-server", "start.sh", "entrypoint.sh", "docker-entrypoint.sh", "run.sh", "s6-svscan", "heroku-php-apache2",
    "heroku-php-nginx",
)  # fmt: skip
# Steps that end before the server starts, or beside which it runs.
CHORES = frozenset((
    "echo", "printf", "true", "false", ":", "sleep", "mkdir", "rmdir", "chmod", "chown", "ls", "cat", "tee", "pwd",
    "set", "cd", "source", ".", "wait", "touch", "cp", "mv", "rm", "ln", "corepack", "prisma", "tsc", "tsc-alias",
    "drizzle-kit", "knex", "typeorm", "sequelize", "sequelize-cli", "mikro-orm", "node-pg-migrate", "db-migrate",
    "umzug", "alembic", "git", "curl", "wget", "apt-get", "apk", "date", "kill", "trap", "ulimit", "umask",
    "whoami", "id", "hostname", "uname", "test", "[", "exit", "return", "dbmate", "wait-for-it", "wait-for-it.sh",
    "wait-on", "pino-pretty", "bunyan", "grep", "sed", "awk", "jq", "head", "tail", "sort", "tr", "cut", "xargs",
    "logger", "which", "type", "env", "read", "shift", "pip", "pip3", "composer", "rimraf", "esbuild", "swc",
    "patch-package", "migrate", "atlas", "goose", "flyway", "shopt", "alias", "eval-env", "nproc", "df", "du",
    "free", "ps", "mount", "ldconfig", "update-ca-certificates", "envsubst",
))  # fmt: skip
_SHOWN_SUBCOMMANDS = {
    "prisma": ("migrate", "deploy", "db", "push", "generate"),
    "next": ("start", "dev"),
    "nuxt": ("start", "dev", "preview"),
    "nest": ("start",),
    "pm2": ("start",),
    "bun": ("run", "start"),
    "deno": ("run", "serve"),
    "turbo": ("run", "start"),
    "strapi": ("start",),
    "medusa": ("start",),
}


def is_node(program: str) -> bool:
    """Whether a program is written in Node, and so takes NODE_OPTIONS from its environment."""
    return program in NODE or program in STARTERS


def is_chore(program: str) -> bool:
    """Whether a program is no server."""
    return program in CHORES


def shown(program: str, words: tuple[str, ...]) -> str:
    """A program for people, with subcommands that cannot be a secret; one that is not known may itself be one."""
    if not (is_node(program) or is_chore(program) or program in (*MANAGERS, *OTHERS, *SHELLS, "npx")):
        return "another program"
    known = _SHOWN_SUBCOMMANDS.get(program, ())
    return " ".join([program, *(word for word in words[1:3] if word in known)])
