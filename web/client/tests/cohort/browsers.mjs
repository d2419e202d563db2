/**
 * Phones of a cohort in Chromium: `node browsers.mjs SPEC.json`.
 *
 * Each phone is a tab of a browser profile of its own. The page, what it is
 * made of and the files come from here; the server answers the rest. A phone
 * that hangs is killed with its tab, and comes back in another one.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build } from "vite";

const spec = JSON.parse(readFileSync(process.argv[2], "utf8"));
const here = dirname(fileURLToPath(import.meta.url));
const wasm = join(
  dirname(createRequire(import.meta.url).resolve("@litertjs/core")),
  "..",
  "wasm",
);
const page = join(spec.folder, "page");
await build({
  configFile: false,
  root: here,
  logLevel: "warn",
  build: {
    outDir: page,
    emptyOutDir: true,
    rolldownOptions: {
      input: join(here, "page.mjs"),
      output: { entryFileNames: "page.js" },
    },
  },
});

const HTML = "<!doctype html><script type=module src=/page.js></script>";
const TYPES = { js: "text/javascript", wasm: "application/wasm" };

async function serve(route) {
  const { pathname } = new URL(route.request().url());
  const send = (file) =>
    route.fulfill({
      body: readFileSync(file),
      contentType: TYPES[file.split(".").pop()] ?? "application/octet-stream",
    });
  if (pathname === "/test.html") {
    return route.fulfill({ body: HTML, contentType: "text/html" });
  }
  const [, folder, ...rest] = pathname.split("/");
  if (folder === "files") return send(join(spec.folder, ...rest));
  if (folder === "wasm") return send(join(wasm, ...rest));
  if (/\.js$/.test(pathname)) return send(join(page, folder, ...rest));
  return route.continue();
}

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function live(context, phone) {
  const tab = await context.newPage();
  tab.on("console", (said) => tell({ name: phone.name, console: said.text() }));
  tab.on("pageerror", (error) => tell({ name: phone.name, error: `${error}` }));
  let hangs;
  const hung = new Promise((resolve) => {
    hangs = resolve;
  });
  await tab.exposeFunction("say", (what) => {
    tell({ name: phone.name, ...what });
    if (what.hangs) hangs();
  });
  await tab.goto(`${phone.url}/test.html`);
  await tab.waitForFunction(() => globalThis.runPhone);
  const half = tab.evaluate((of) => globalThis.runPhone(of), phone);
  const ended = await Promise.race([half, hung.then(() => null)]);
  if (ended === null) half.catch(() => undefined);
  await tab.close();
  return ended;
}

const browser = await chromium.launch({
  executablePath: spec.chromium,
  args: [
    ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
    ...["--disable-background-networking", "--disable-component-update"],
    "--disable-sync",
  ],
});
try {
  await Promise.all(
    spec.phones.map(async (phone) => {
      const context = await browser.newContext();
      await context.route("**/*", serve);
      let half = await live(context, phone);
      if (half === null) {
        half = await live(context, { ...phone, ...phone.again, hang: null });
      }
      const bytes = Buffer.from(half, "hex");
      writeFileSync(join(spec.folder, `${phone.name}.half`), bytes);
      tell({ name: phone.name, done: true });
    }),
  );
} finally {
  await browser.close();
}
