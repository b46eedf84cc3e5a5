// Our own: what differs by environment, what is put together, and what another machine says.
import * as rw from "railway/iac";

export default rw.defineRailway(({ environment, isEnvironment }) => {
  const live = environment === "production" || isEnvironment("staging");
  const db = rw.postgres("main db");
  const flags = "--max-old-space-size=" + (live ? 768 : 256);
  const api = rw.service("api", {
    build: "pnpm build",
    startCommand: `node ${flags} dist/server.js`,
    healthcheckPath: "/healthz",
    replicas: live ? { "us-west2": 2, "europe-west4": { count: 1 } } : 1,
    deploy: { startCommand: "node never.js", drainingSeconds: live ? 45 : undefined, overlapSeconds: null },
    env: { DATABASE_URL: rw.ref(db, "DATABASE_URL"), TOKEN: process.env.TOKEN!, REGION: process.env.REGION ?? "eu" },
  });
  return rw.project("p", { resources: [db, api] });
});
