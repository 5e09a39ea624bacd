// Uses the types that openapi-typescript has made of the service's own document, with openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./made.js";

declare const process: { argv: string[]; exit(code: number): never };

async function main(url: string): Promise<void> {
  const client = createClient<paths>({ baseUrl: url });
  const uploaded = await client.POST("/v1/uploads", {
    params: { query: { name: "a.txt" } },
    body: "hello",
    bodySerializer: (body) => body as string,
    headers: { "Content-Type": "application/octet-stream" },
  });
  const upload = uploaded.data?.id;
  if (!upload) throw new Error(JSON.stringify(uploaded.error));
  const submitted = await client.POST("/v1/pipelines", {
    params: { query: { wait: "60s" } },
    body: { steps: { one: { input: { upload }, to: "noop" } } },
  });
  if (submitted.data?.state !== "succeeded" || submitted.data.stats.done !== 1) throw new Error(JSON.stringify(submitted));
  const jobs = await client.GET("/v1/jobs", { params: { query: { pipeline: submitted.data.id } } });
  const output = jobs.data?.jobs[0]?.outputs[0];
  if (output?.name !== "a.noop") throw new Error(JSON.stringify(jobs));
  const refused = await client.GET("/v1/jobs/{id}", { params: { path: { id: "nobody" } } });
  if (refused.error?.code !== "not_found") throw new Error(JSON.stringify(refused));
  console.log("done");
}

main(process.argv[2] ?? "").catch((error) => {
  console.error(error);
  process.exit(1);
});
