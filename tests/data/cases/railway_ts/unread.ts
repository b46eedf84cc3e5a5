// Our own: a start, a limit and an address that the file alone does not say.
import { defineRailway, postgres, project, service } from "railway/iac";
import { base } from "./base";

const cap = 512;
const env: Record<string, string> = { NODE_ENV: "production" };
env.NODE_OPTIONS = `--max-old-space-size=${cap}`;

export default defineRailway(() => {
  const db = postgres("Postgres");
  const web = service("web", {
    replicas: 2,
    ...base,
    start: ["node", base.entry].join(" "),
    env: { ...env, DATABASE_URL: `${db.env.DATABASE_URL}?connection_limit=5` },
    helthcheck: "/health",
  });
  return project("p", { resources: [db, web] });
});
