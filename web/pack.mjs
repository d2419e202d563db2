/**
 * Copies what was built into the Python package, with the licences of all that
 * is in it, and smaller copies of large files for browsers that take them.
 */
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { extname, join } from "node:path";
import { constants, gzipSync } from "node:zlib";

const WEB = import.meta.dirname;
const PAGE = join(WEB, "..", "keras_split", "server", "web", "page");
const PACKED = new Set([".css", ".html", ".js", ".json", ".svg", ".wasm"]);
const WORTH_BYTES = 4096;
/** What the service worker is made of; to npm they are tools. */
const WORKER = /workbox-(core|expiration|precaching|routing|strategies)$/;

/** Packages that are bundled, as package-lock.json has them. */
function bundled() {
  const lock = JSON.parse(readFileSync(join(WEB, "package-lock.json"), "utf8"));
  return Object.entries(lock.packages)
    .filter(
      ([path, about]) =>
        path.startsWith("node_modules/") &&
        !about.link &&
        (!about.dev || WORKER.test(path)),
    )
    .map(([path, about]) => ({
      folder: join(WEB, path),
      name: path.slice("node_modules/".length),
      version: about.version,
      license: about.license ?? "see its package",
    }));
}

function licence({ folder, name, version, license }) {
  const file = existsSync(folder)
    ? readdirSync(folder).find((found) => /^licen[sc]e/i.test(found))
    : undefined;
  const text = file
    ? readFileSync(join(folder, file), "utf8").trim()
    : `${license}, of which https://spdx.org/licenses has the text.`;
  const title = `${name} ${version} (${license})`;
  return `${title}\n${"=".repeat(title.length)}\n\n${text}\n`;
}

rmSync(PAGE, { recursive: true, force: true });
cpSync(join(WEB, "app", "dist"), PAGE, { recursive: true });
writeFileSync(
  join(PAGE, "LICENSES.txt"),
  `The page is of keras_split, and of these packages.\n\n${bundled()
    .map(licence)
    .join("\n\n")}`,
);
for (const entry of readdirSync(PAGE, {
  recursive: true,
  withFileTypes: true,
})) {
  const path = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !PACKED.has(extname(path))) continue;
  const content = readFileSync(path);
  if (content.length < WORTH_BYTES) continue;
  writeFileSync(
    `${path}.gz`,
    gzipSync(content, { level: constants.Z_BEST_COMPRESSION }),
  );
}
console.log(`The page is in ${PAGE}`);
