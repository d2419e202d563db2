/** What runs in the worker of `WorkerRuntime`. */
import * as Comlink from "comlink";
import type { Tensors } from "../tensors.js";
import { type LiteRtOptions, LiteRtRuntime } from "./litert.js";

/** The runtime as the page calls it. */
const remote = {
  runtime: undefined as LiteRtRuntime | undefined,

  async load(
    options: LiteRtOptions,
    model: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    // Else it looks for its wasm beside this script, not beside its own.
    const locateFile = (file: string) => options.wasm + file;
    Object.assign(globalThis, { Module: { locateFile } });
    this.runtime = new LiteRtRuntime(options);
    await this.runtime.load(model);
  },

  async run(signature: string, inputs: Tensors): Promise<Tensors> {
    if (!this.runtime) throw new Error("Expected load before run.");
    const made = await this.runtime.run(signature, inputs);
    const buffers = Object.values(made).map((tensor) => tensor.data.buffer);
    return Comlink.transfer(made, buffers);
  },
};

export type RemoteRuntime = typeof remote;

Comlink.expose(remote);
