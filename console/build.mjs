/* build.mjs - turns src/ into dist/: index.html, app.js, app.css, icon.svg, and broker.*, under stable names.
 *
 * Why dist/ is committed: the C build embeds it, and a machine that only builds Millrace needs no npm. So the same
 * input must give the same bytes: esbuild is pinned by package-lock.json, nothing here looks at clock or paths.
 *
 *   node build.mjs           writes dist/
 *   node build.mjs --check   builds in memory, compares with dist/, fails on a difference
 * Both fail when a page outgrows its budget: GZIP_BYTES_MAX for all files of the first page together, BROKER_BYTES_MAX
 * for those that the broker page adds. */
import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const GZIP_BYTES_MAX = 60 * 1024, BROKER_BYTES_MAX = 20 * 1024;
const COPIED = ["index.html", "broker.html", "icon.svg"]; // taken from src/ as they are
const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

/* Parts of uPlot that nothing here uses: without their registration the bundler drops them (7 KB). A line that is no
 * longer there stops the build: then this list needs a look. */
const UPLOT_UNUSED = ["(paths.bars    = bars);", "(paths.spline  = monotoneCubic);", "uPlot.join = join;"];
const withoutUnused = {
  name: "uplot-without-unused",
  setup(plugin) {
    plugin.onLoad({ filter: /uPlot\.esm\.js$/ }, ({ path }) => {
      let contents = readFileSync(path, "utf8");
      for (const line of UPLOT_UNUSED) {
        if (!contents.includes(line)) throw new Error(`uPlot: no such line: ${line}`);
        contents = contents.replace(line, "");
      }
      return { contents, loader: "js" };
    });
  },
};

async function bundle() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: { app: "src/main.tsx", broker: "src/broker.tsx" },
    outdir: "dist",
    bundle: true,
    minifySyntax: true,
    minifyWhitespace: true,
    write: false,
    format: "esm", // one file without imports: loaded as a plain deferred script, wrapped below
    target: ["es2020", "chrome100", "firefox100", "safari15"],
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [withoutUnused],
    logLevel: "warning",
  });
  const files = new Map(COPIED.map((name) => [name, readFileSync(join(here, "src", name))]));
  for (const out of result.outputFiles) files.set(out.path.slice(dist.length + 1), Buffer.from(out.contents));
  for (const name of ["app.js", "broker.js"]) files.set(name, Buffer.from(await squeeze(files.get(name).toString("utf8"))));
  return files;
}

/* terser names variables scope by scope, which gzip likes: 5 % smaller than esbuild's own minifier. */
async function squeeze(code) {
  const { code: small } = await minify(code, {
    module: true,
    // pure_getters stays off: reading `signal.value` subscribes, even where the result is not used.
    compress: { passes: 3, ecma: 2020, unsafe_arrows: true, pure_getters: false, keep_fargs: false, inline: 1 },
    format: { ecma: 2020, comments: false },
  });
  return `(()=>{${small}})();\n`;
}

function measure(files) {
  let first = 0, broker = 0;
  for (const name of [...files.keys()].sort()) {
    const size = gzipSync(files.get(name), { level: 9 }).length;
    if (name.startsWith("broker.")) broker += size;
    else first += size;
    console.log(`${name.padEnd(12)} ${String(files.get(name).length).padStart(7)} bytes ${String(size).padStart(6)} gzip`);
  }
  console.log(`${"first page".padEnd(26)} ${String(first).padStart(6)} gzip of ${GZIP_BYTES_MAX}`);
  console.log(`${"broker page".padEnd(26)} ${String(broker).padStart(6)} gzip of ${BROKER_BYTES_MAX}`);
  return first <= GZIP_BYTES_MAX && broker <= BROKER_BYTES_MAX;
}

function differences(files) {
  const there = new Set(readdirSync(dist));
  const wrong = [...there].filter((name) => !files.has(name)).map((name) => `${name}: not made by the build`);
  for (const [name, bytes] of files) {
    if (!there.has(name)) wrong.push(`${name}: missing in dist/`);
    else if (!readFileSync(join(dist, name)).equals(bytes)) wrong.push(`${name}: differs from what src/ builds`);
  }
  return wrong;
}

const files = await bundle();
let failed = !measure(files);
if (failed) console.error("the page is over its budget");
if (process.argv.includes("--check")) {
  for (const line of differences(files)) {
    console.error(`${line} (run: npm run build)`);
    failed = true;
  }
} else {
  mkdirSync(dist, { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(dist, name), bytes);
}
process.exit(failed ? 1 : 0);
