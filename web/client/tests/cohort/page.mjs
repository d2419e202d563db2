/** A phone of a cohort in a page; browsers.mjs opens it. */
import * as library from "../../src/index.ts";
import { runPhone } from "./run_phone.mjs";

async function file(name) {
  return await (await fetch(`/files/${name}`)).arrayBuffer();
}

globalThis.runPhone = async (spec) => {
  const model = await file("client.tflite");
  const description = await (await fetch("/files/client.json")).json();
  const x = new Float32Array(await file(`${spec.name}.x`));
  const y = new Int32Array(await file(`${spec.name}.y`));
  const parts = { model, description, x, y };
  const half = await runPhone(library, spec, parts, globalThis.say);
  return (await Promise.all(half.map(digits))).join("");
};

function digits(part) {
  const bytes = new Uint8Array(part);
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
