// What somebody who serves GitHub's webhooks has, with GitHub's own library: `serve` verifies and reads deliveries on a port
// that it prints, and prints each, `sign` signs bodies. Secrets and bodies come from standard input, as JSON.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [installed, what] = process.argv.slice(2);
const library = join(installed, "node_modules/@octokit/webhooks/dist-bundle/index.js");
const { Webhooks, createNodeMiddleware } = await import(pathToFileURL(library));
const input = JSON.parse(readFileSync(0, "utf8"));
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

if (what === "sign") {
  for (const { secret, body, by } of input) {
    const webhooks = new Webhooks({ secret });
    say({ signature: await webhooks.sign(body), verified: by !== "" && (await webhooks.verify(body, by)) });
  }
} else {
  const webhooks = new Webhooks({ secret: input.secret });
  webhooks.on(["ping", "issue_comment.created", "pull_request.synchronize", "pull_request.closed"], ({ id, name, payload }) =>
    say({
      id,
      name,
      action: payload.action ?? "",
      repo: payload.repository.full_name,
      sender: payload.sender.login,
      comment: payload.comment?.body ?? "",
      head: payload.pull_request?.head.sha ?? "",
    }));
  webhooks.onError((error) => say({ error: error.message }));
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const server = createServer(createNodeMiddleware(webhooks, { path: "/hook", log }));
  server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
}
