// The two builds of the page. Build b stands for a later release of the same code: it has one more module, and its
// functions are in another order, so that names, places and the hashes of the bundles change.
import { fileURLToPath } from "node:url";
import { build } from "vite";
import createWabt from "wabt";

const root = fileURLToPath(new URL(".", import.meta.url));

/** Compile WebAssembly text to an asset, with the names of its functions, and import its address. */
function webAssemblyText(name) {
  return {
    name: "wat",
    enforce: "pre",
    async transform(text, id) {
      if (!id.endsWith(".wat")) return null;
      const source = name === "b" ? text.replace("(func $read_word", "(func $version (result i32) i32.const 2)\n$&") : text;
      const wabt = await createWabt();
      const { buffer } = wabt.parseWat(id, source).toBinary({ write_debug_names: true });
      const file = this.emitFile({ type: "asset", name: "codec.wasm", source: buffer });
      return `export default import.meta.ROLLUP_FILE_URL_${file};`;
    },
  };
}

/** Reverse the order of the top-level functions of our modules, and add a module to the first one. */
function laterRelease() {
  return {
    name: "later-release",
    enforce: "pre",
    transform(code, id) {
      if (id.endsWith("/src/ui/help.css")) return `${code}.help b { color: navy; }`;
      if (!id.startsWith(`${root}src/`) || !/\.js(\?|$)/.test(id)) return null;
      const textOf = ({ start, end }) => code.slice(start, end);
      const isFunction = (node) => (node.declaration ?? node).type === "FunctionDeclaration";
      const { body } = this.parse(code);
      const functions = body.filter(isFunction).reverse();
      const others = body.filter((node) => !isFunction(node));
      const added = id.endsWith("/src/main.js") ? 'import "./repeater_book.js";' : "";
      return [added, ...functions.map(textOf), ...others.map(textOf)].join("\n");
    },
  };
}

/** Build the page into a folder, as `vite build` does by default: minified, with hashed names. */
export async function buildPage(name, { folder, site, otherOrigin, sourcemap = false }) {
  const define = {
    __BUILD__: JSON.stringify(name),
    __SITE__: JSON.stringify(site),
    __OTHER_ORIGIN__: JSON.stringify(otherOrigin),
  };
  const plugins = () => [webAssemblyText(name), ...(name === "b" ? [laterRelease()] : [])];
  await build({
    root,
    base: "/flasher/",
    configFile: false,
    logLevel: "warn",
    define,
    plugins: plugins(),
    worker: { plugins },
    build: { outDir: folder, emptyOutDir: true, sourcemap },
  });
}
