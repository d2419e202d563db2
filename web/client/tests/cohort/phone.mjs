/** A phone of a cohort in Node: `node phone.mjs SPEC.json`. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as library from "keras-split-client";
import { FileStore, nodeRuntime } from "keras-split-client/node";
import { runPhone } from "./run_phone.mjs";

const spec = JSON.parse(readFileSync(process.argv[2], "utf8"));

function file(name) {
  const { buffer, byteOffset, length } = readFileSync(join(spec.folder, name));
  return buffer.slice(byteOffset, byteOffset + length);
}

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

const half = await runPhone(
  library,
  spec,
  {
    runtime: nodeRuntime(),
    store: await FileStore.open(join(spec.folder, `${spec.name}.store`)),
    model: file("client.tflite"),
    description: JSON.parse(Buffer.from(file("client.json")).toString()),
    x: new Float32Array(file(`${spec.name}.x`)),
    y: new Int32Array(file(`${spec.name}.y`)),
  },
  say,
);
writeFileSync(
  join(spec.folder, `${spec.name}.half`),
  Buffer.concat(half.map((part) => Buffer.from(part))),
);
say({ done: true });
process.exit(0); // threads of LiteRT.js do not end by themselves
