import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import preact from "@preact/preset-vite";
import { VitePWA } from "vite-plugin-pwa";
import { defineConfig, type Plugin } from "vitest/config";

const litert = dirname(
  dirname(createRequire(import.meta.url).resolve("@litertjs/core")),
);
const { version } = JSON.parse(
  readFileSync(join(litert, "package.json"), "utf8"),
) as { version: string };
/** Another version, another address: a cache never mixes two. */
const WASM = `wasm/${version}/`;
/**
 * One of them goes to a browser: with relaxed SIMD, or without (Safari).
 */
const VARIANTS = ["litert_wasm_internal", "litert_wasm_compat_internal"];

/** Puts LiteRT.js' WebAssembly beside the page. */
function litertWasm(): Plugin {
  return {
    name: "litert-wasm",
    apply: "build",
    generateBundle() {
      for (const name of VARIANTS.flatMap((v) => [`${v}.js`, `${v}.wasm`])) {
        this.emitFile({
          type: "asset",
          fileName: WASM + name,
          source: readFileSync(join(litert, "wasm", name)),
        });
      }
    },
  };
}

export default defineConfig({
  define: { "import.meta.env.VITE_WASM": JSON.stringify(`/${WASM}`) },
  plugins: [
    preact(),
    litertWasm(),
    VitePWA({
      registerType: "autoUpdate",
      injectRegister: null, // it would be an inline script
      manifest: {
        name: "keras_split phone",
        short_name: "keras_split",
        description: "Train a network with this phone",
        theme_color: "#0b6b52",
        background_color: "#f5f6f4",
        display: "standalone",
        start_url: "/",
        icons: [
          { src: "/icon.svg", sizes: "any", type: "image/svg+xml" },
          { src: "/icon-192.png", sizes: "192x192", type: "image/png" },
        ],
      },
      workbox: {
        // The page and, when it is first asked for, LiteRT.js. Nothing else
        // is kept: no model, no message, no token.
        globPatterns: ["index.html", "assets/*", "*.{svg,png}"],
        globIgnores: ["assets/dashboard*"],
        navigateFallback: null,
        runtimeCaching: [
          {
            urlPattern: ({ sameOrigin, url }) =>
              sameOrigin && url.pathname.startsWith("/wasm/"),
            handler: "CacheFirst",
            options: { cacheName: "litert", expiration: { maxEntries: 4 } },
          },
        ],
      },
    }),
  ],
  build: {
    // A strict Content-Security-Policy takes no data: and no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rollupOptions: {
      input: { train: "index.html", dashboard: "dashboard.html" },
    },
  },
  test: { include: ["tests/**/*.test.ts"] },
});
