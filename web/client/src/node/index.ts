/** What a phone in Node needs besides. */
export { FileStore } from "./file_store.js";
export { nodeRuntime } from "./litert.js";
