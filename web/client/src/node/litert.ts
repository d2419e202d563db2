/** LiteRT.js in Node. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runInThisContext } from "node:vm";
import { LiteRtRuntime } from "../runtime/litert.js";

/**
 * Runs a .tflite with LiteRT.js in Node, in the thread that calls it.
 *
 * LiteRT.js 2.5 knows pages and workers. It loads its wasm by `importScripts`,
 * and what that loads looks for `require` and its own place; this gives it
 * them. Both stay global.
 */
export function nodeRuntime(): LiteRtRuntime {
  const main = createRequire(import.meta.url).resolve("@litertjs/core");
  const folder = join(dirname(main), "..", "wasm");
  const here: Record<string, unknown> = globalThis as never;
  here.self ??= globalThis;
  here.require ??= createRequire(join(folder, "any.js"));
  here.__dirname ??= folder;
  here.__filename ??= join(folder, "any.js");
  here.importScripts ??= (url: string) => {
    const file = fileURLToPath(url);
    runInThisContext(readFileSync(file, "utf8"), { filename: file });
    // A var of a script is global for scripts, and not for modules.
    here.ModuleFactory = runInThisContext("ModuleFactory");
  };
  return new LiteRtRuntime({ wasm: `${pathToFileURL(folder).href}/` });
}
