/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** Folder of LiteRT.js' WebAssembly; ends with a slash. */
  readonly VITE_WASM: string;
}
