import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** `vite build --config tests/page/vite.config.ts --outDir FOLDER`. */
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "/test/",
  build: { target: "es2022", emptyOutDir: true, minify: false },
});
