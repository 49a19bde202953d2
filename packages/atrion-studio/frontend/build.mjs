// Bundles the front end into the folder given as the first argument, the package's own by default.
import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";

const out = process.argv[2] ?? "../src/atrion_studio/static";
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: "src/main.tsx", login: "src/login.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "linked",
  logLevel: "warning",
});
await cp("public", out, { recursive: true });

const notices = await Promise.all(
  ["preact", "uplot"].map(async (name) => `${name}\n\n${await readFile(`node_modules/${name}/LICENSE`, "utf8")}`),
);
await writeFile(`${out}/THIRD_PARTY.txt`, notices.join("\n\n"));
