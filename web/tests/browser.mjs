/**
 * Drives Chromium for tests in Python (tests/web/browser.py): a command a line
 * on stdin, as JSON, and a line of JSON on stdout for each.
 *
 *     node browser.mjs '{"chromium": PATH, "folders": {...}, ...}'
 *
 * `folders`: what is found at /NAME/ of whatever server a page is of, at / what
 * the server itself need not have; `video`: what the camera sees; `trusts`:
 * hashes of certificates' keys.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const KINDS = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
const WAIT_MS = 30_000;
const { folders, video, trusts, ...launched } = JSON.parse(process.argv[2]);
const axe = readFileSync(
  createRequire(import.meta.url).resolve("axe-core/axe.min.js"),
  "utf8",
);
const profile = mkdtempSync(join(tmpdir(), "keras-split-browser-"));
/** Errors and warnings of the pages. */
const said = [];
/** Path and bytes of everything that was fetched. */
const fetched = [];
let context;
let page;

async function launch() {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: launched.chromium,
    acceptDownloads: true,
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"],
      ...["--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
      ...(trusts.length
        ? [`--ignore-certificate-errors-spki-list=${trusts.join()}`]
        : []),
      ...(video
        ? [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            `--use-file-for-fake-video-capture=${video}`,
          ]
        : []),
    ],
  });
  context.setDefaultTimeout(WAIT_MS);
  for (const [name, folder] of Object.entries(folders)) {
    const path = name ? `${name}/` : "";
    await context.route(new RegExp(`^[^?]*//[^/]*/${path}`), (route) =>
      fulfil(route, path, folder),
    );
  }
  await tab();
}

async function fulfil(route, path, folder) {
  const { pathname } = new URL(route.request().url());
  const file = join(folder, pathname.slice(path.length + 1) || "index.html");
  try {
    const contentType = KINDS[extname(file)] ?? "application/data";
    const body = readFileSync(file);
    await route.fulfill({ body, contentType, headers: ISOLATED });
  } catch {
    if (!path) await route.continue();
    else await route.fulfill({ status: 404, headers: ISOLATED });
  }
}

/** The tab that commands go to from now on. */
async function tab() {
  page = await context.newPage();
  page.on("console", (message) => {
    const loud = ["error", "warning"].includes(message.type());
    if (loud) said.push(message.text());
  });
  page.on("dialog", (dialog) => dialog.accept());
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("response", (response) => {
    if (response.request().method() !== "GET") return;
    const { pathname, search } = new URL(response.url());
    const bytes = Number(response.headers()["content-length"] ?? 0);
    fetched.push({ path: pathname + search, bytes });
  });
}

/** Not waitForFunction: the policy of the page forbids its eval. */
async function until(script) {
  const end = Date.now() + WAIT_MS;
  while (!(await page.evaluate(script))) {
    if (Date.now() > end) throw new Error(`never: ${script}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const commands = {
  open: ({ url }) => page.goto(url),
  reload: () => page.reload(),
  another: tab,
  size: ({ width, height }) => page.setViewportSize({ width, height }),
  colours: ({ scheme }) => page.emulateMedia({ colorScheme: scheme }),
  fill: ({ label, text }) => page.getByLabel(label).fill(text),
  press: ({ key }) => page.keyboard.press(key),
  click: ({ name, exact }) =>
    page.getByRole("button", { name, exact: exact ?? false }).click(),
  /** Gives files that are there to a field, or one with what is in it. */
  give: ({ label, files, name, text }) =>
    page.getByLabel(label).setInputFiles(
      files ?? {
        name,
        mimeType: "image/png",
        buffer: Buffer.from(text),
      },
    ),
  /** Where a button's download lies. */
  download: async ({ name }) => {
    const started = page.waitForEvent("download");
    await page.getByRole("button", { name }).click();
    return await (await started).path();
  },
  /** Waits until a button is there. */
  offered: ({ name }) => page.getByRole("button", { name }).waitFor(),
  wait: ({ text, matches, inside, waitS = WAIT_MS / 1000 }) =>
    (inside ? page.locator(inside) : page)
      .getByText(matches ? new RegExp(matches) : text)
      .first()
      .waitFor({ timeout: 1000 * waitS }),
  /** Text of what a selector finds, once it is there. */
  read: ({ selector }) => page.locator(selector).textContent(),
  until: ({ script }) => until(script),
  run: ({ script }) => page.evaluate(script),
  /** Calls a method of an object of the page. */
  call: ({ of, method, given }) =>
    page.evaluate(
      ([object, name, values]) => window[object][name](...values),
      [of, method, given],
    ),
  /** Begins it, and does not wait. */
  begin: ({ of, method, given }) =>
    page.evaluate(
      ([object, name, values]) => {
        window[object][name](...values).catch(() => {});
      },
      [of, method, given],
    ),
  /** Ends the tab's process without a last word; another tab is there. */
  kill: async () => {
    const devtools = await context.newCDPSession(page);
    const gone = new Promise((resolve) => page.once("crash", resolve));
    devtools.send("Page.crash").catch(() => {});
    await gone;
    const killed = page;
    await tab();
    await killed.close();
  },
  /** Closes the browser and starts it again, with what it kept. */
  restart: async () => {
    await context.close();
    await launch();
  },
  shoot: ({ path, whole }) =>
    page.screenshot({ path, fullPage: whole ?? true }),
  said: () => said,
  fetched: () => fetched,
  axe: async () => {
    // Into the page's own world, past its policy for scripts.
    await page.evaluate(axe);
    const { violations } = await page.evaluate("axe.run(document)");
    return violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(
        ({ id, nodes }) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`,
      );
  },
};
const ANSWER = new Set([
  "read",
  "run",
  "call",
  "download",
  "said",
  "fetched",
  "axe",
]);

await launch();
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...more } = JSON.parse(line);
  let reply;
  try {
    const value = await commands[command](more);
    reply = { value: (ANSWER.has(command) && value) ?? null };
  } catch (error) {
    reply = { error: [error.message, ...said.slice(-5)].join("\n") };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await context.close();
rmSync(profile, { recursive: true, force: true });
