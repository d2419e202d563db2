/** LiteRT.js in a worker, so that the page never freezes. */
import * as Comlink from "comlink";
import { RuntimeError } from "../errors.js";
import type { Tensors } from "../tensors.js";
import type { LiteRtOptions } from "./litert.js";
import type { Runtime } from "./runtime.js";
import type { RemoteRuntime } from "./worker_entry.js";

/** Runs a .tflite with LiteRT.js in a worker of its own. */
export class WorkerRuntime implements Runtime {
  #worker: Worker | undefined;
  #remote: Comlink.Remote<RemoteRuntime> | undefined;
  #broken = new Promise<never>(() => {});

  /**
   * @param options As in the page.
   * @param start Starts the worker; by default the one of this package, which
   *   bundlers find by this form of words. It is a classic worker: LiteRT.js
   *   calls importScripts.
   */
  constructor(
    private readonly options: LiteRtOptions,
    private readonly start: () => Worker = () =>
      new Worker(new URL("./worker_entry.js", import.meta.url)),
  ) {}

  async load(model: Uint8Array<ArrayBuffer>): Promise<void> {
    const worker = this.start();
    this.#worker = worker;
    this.#broken = new Promise((_, reject) => {
      worker.addEventListener("error", (event) =>
        reject(
          new RuntimeError(
            "Expected a worker that runs LiteRT.js. Received: " +
              `${event.message || "one that could not be started"}. Serve ` +
              "the bundle of this page whole; look at its " +
              "Content-Security-Policy.",
          ),
        ),
      );
    });
    this.#broken.catch(() => {}); // whoever waits hears it
    this.#remote = Comlink.wrap<RemoteRuntime>(worker);
    const wasm = new URL(this.options.wasm, location.href).href;
    await this.#ask(this.#remote.load({ ...this.options, wasm }, model));
  }

  async run(signature: string, inputs: Tensors): Promise<Tensors> {
    if (!this.#remote) throw new RuntimeError("Expected load before run.");
    return await this.#ask(this.#remote.run(signature, inputs));
  }

  async close(): Promise<void> {
    this.#worker?.terminate();
    this.#worker = this.#remote = undefined;
  }

  /** What the worker answers; its errors are those of this package again. */
  async #ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await Promise.race([answer, this.#broken]);
    } catch (error) {
      if (error instanceof RuntimeError) throw error;
      throw new RuntimeError((error as Error).message, { cause: error });
    }
  }
}
