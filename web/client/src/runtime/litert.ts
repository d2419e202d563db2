/** LiteRT.js, where it is called: in a page, in a worker or in Node. */
import {
  type CompiledModel,
  Tensor as LiteTensor,
  loadAndCompile,
  loadLiteRt,
} from "@litertjs/core";
import { RuntimeError, said } from "../errors.js";
import type { Tensor, Tensors } from "../tensors.js";
import type { Runtime } from "./runtime.js";

/** Where LiteRT.js finds itself, and how it computes. */
export interface LiteRtOptions {
  /** Address of the folder `wasm` of `@litertjs/core`; ends with a slash. */
  readonly wasm: string;
  /**
   * Threads of one operation. More than one needs a page that is isolated
   * (COOP and COEP headers).
   */
  readonly threads?: number;
}

// LiteRT.js has one instance in a page or worker, which cannot load twice.
let loaded: Promise<unknown> | undefined;

/** Runs a .tflite with LiteRT.js, in the thread that calls it. */
export class LiteRtRuntime implements Runtime {
  #model: CompiledModel | undefined;

  constructor(private readonly options: LiteRtOptions) {}

  async load(model: Uint8Array<ArrayBuffer>): Promise<void> {
    const { wasm, threads = 1 } = this.options;
    try {
      loaded ??= loadLiteRt(wasm, { threads: threads > 1 });
      await loaded;
    } catch (error) {
      loaded = undefined;
      throw new RuntimeError(
        `Expected LiteRT.js in ${wasm}. Received: ${said(error)}. Serve the ` +
          "folder wasm of @litertjs/core there; the browser must have " +
          "WebAssembly.",
        { cause: error },
      );
    }
    try {
      this.#model = await loadAndCompile(model, {
        accelerator: "wasm",
        ...(threads > 1 && { cpuOptions: { numThreads: threads } }),
      });
    } catch (error) {
      throw new RuntimeError(
        `Expected a .tflite that LiteRT.js can load. Received: ` +
          `${model.length} bytes (${said(error)}). Export it again.`,
        { cause: error },
      );
    }
  }

  async run(signature: string, inputs: Tensors): Promise<Tensors> {
    const model = this.#model;
    const feeds: Record<string, LiteTensor> = {};
    let made: Record<string, LiteTensor> = {};
    try {
      if (!model) throw new Error("no file is loaded");
      for (const [name, { data, shape }] of Object.entries(inputs)) {
        feeds[name] = new LiteTensor(data as Float32Array<ArrayBuffer>, [
          ...shape,
        ]);
      }
      made = await model.run(signature, feeds);
      const outputs: Record<string, Tensor> = {};
      for (const [name, tensor] of Object.entries(made)) {
        outputs[name] = {
          // A view of the memory of LiteRT.js, which it will use again.
          data: (await tensor.data()).slice(),
          shape: [...tensor.type.layout.dimensions],
        };
      }
      return outputs;
    } catch (error) {
      throw new RuntimeError(
        `Expected LiteRT.js to run ${signature}. Received: ${said(error)}. ` +
          "Use a smaller batch_size if memory is short; else export the file " +
          "again.",
        { cause: error },
      );
    } finally {
      for (const tensor of [...Object.values(feeds), ...Object.values(made)]) {
        tensor.delete();
      }
    }
  }

  async close(): Promise<void> {
    this.#model?.delete();
    this.#model = undefined;
  }
}
