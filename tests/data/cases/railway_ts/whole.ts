// Our own: the fields of a service that the package railway 3.11 allows, each in one of its forms.
import { defineRailway as define, github, postgres, preserve, project, redis, service as svc } from "railway/iac";

const GB = 1_000_000_000;
const sharedEnv = { NODE_ENV: "production", NODE_OPTIONS: "--max-old-space-size=1024" } as const;
const limits = (Object.freeze({ containers: { cpu: 2, memoryBytes: 2 * GB } }));
const common = { deploy: { restartPolicyType: "ALWAYS", drainingSeconds: 30, limitOverride: limits } } satisfies object;
const steps = ["npx prisma migrate deploy", "exec node dist/index.js"];

export default define((ctx) => {
  const db = postgres("Postgres");
  const cache = redis("Redis");
  const collector = svc("Event collector", {
    ...common,
    source: github("acme/collector", { branch: "main" }),
    build: { builder: "RAILPACK", buildCommand: "npm run build", watchPatterns: ["src/**"] },
    run: { command: steps.join(" && "), preDeploy: ["npm run migrate"], healthcheck: "/ready", healthcheckTimeout: 60 },
    regions: { "us-west2": { count: 2, stacker: "metal" }, "europe-west4": { replicas: 1 }, asia: 1 },
    variables: { LOG_LEVEL: "info", PORT: { value: "8080", description: "where it listens", isSealed: false } },
    env: {
      ...sharedEnv,
      DATABASE_URL: `\${{Postgres.DATABASE_URL}}?connection_limit=${4 + 1}&pool_timeout=20`,
      REDIS_URL: cache.env.REDIS_URL,
      SENTRY_DSN: ctx.shared.SENTRY_DSN,
      JWT_SECRET: preserve(),
      STRIPE_KEY: preserve(),
    },
    domains: ["events.example.com", { domain: "in.example.com", port: 8080 }],
    volumeMounts: {},
  });
  return project("acme", { resources: [db, cache, collector] });
});
