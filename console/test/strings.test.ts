/* Claims about language: every text exists in every language, and none stands outside strings.ts. */
import { readFileSync, readdirSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";
import { translate } from "../src/i18n";
import { LANGS, STRINGS, type Key } from "../src/strings";

const src = new URL("../src/", import.meta.url);
const sources = readdirSync(src).filter((name) => /\.tsx?$/.test(name) && !/strings\.ts$/.test(name)).map((name) => [name, readFileSync(new URL(name, src), "utf8")] as const);
const keys = Object.keys(STRINGS) as Key[];
const parameters = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();

test("every key has every language", () => {
  for (const key of keys) for (const language of LANGS) expect(STRINGS[key][language].trim(), `${key} in ${language}`).not.toBe("");
});

test("a text has the same parameters in every language", () => {
  for (const key of keys) expect(parameters(STRINGS[key].zh), key).toEqual(parameters(STRINGS[key].en));
});

test("parameters are put in, unknown ones stay visible", () => {
  expect(translate("en", "age.s", { n: 3 })).toBe("3 s");
  expect(translate("zh", "age.s", { n: 3 })).toBe("3 秒");
  expect(translate("en", "age.s", {})).toBe("{n} s");
});

/* Keys that are put together from a prefix and a variable part. */
const FAMILIES = /^(quality|lang|theme|add\.kind|add\.parity|conn)\./;

test("every key is used", () => {
  const all = sources.map(([, text]) => text).join("\n");
  for (const key of keys) if (!FAMILIES.test(key)) expect(all.includes(`"${key}"`), key).toBe(true);
});

const READ_ALOUD = new Set(["title", "aria-label", "alt"]);

/* Words between tags, and words written into attributes that a person hears or sees. Placeholders that show a format
 * ("400001", "line3/press07") are the same in every language and have no spaces. */
function readableTexts(name: string, text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isJsxText(node) && /\p{L}{2,}/u.test(node.text)) found.push(`${name}: ${node.text.trim()}`);
    if (ts.isJsxAttribute(node) && node.initializer && ts.isStringLiteral(node.initializer)) {
      const attribute = node.name.getText(), value = node.initializer.text;
      if (READ_ALOUD.has(attribute) || (attribute === "placeholder" && /\s/.test(value))) found.push(`${name}: ${attribute}=${value}`);
    }
    if (ts.isStringLiteralLike(node) && /\p{Script=Han}/u.test(node.text)) found.push(`${name}: ${node.text}`);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(name, text, ts.ScriptTarget.ES2020, true, name.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS));
  return found;
}

test("no readable text stands outside strings.ts", () => {
  expect(readableTexts("probe.tsx", 'const a = <p title="Hi there">Hello</p>;')).toHaveLength(2);
  expect(sources.flatMap(([name, text]) => readableTexts(name, text))).toEqual([]);
});

test("the page asks no other host and has no inline script or style", () => {
  const page = readFileSync(new URL("index.html", src), "utf8");
  expect(page).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=|https?:/);
  for (const [name, text] of sources) expect(text.replace(/http:\/\/www\.w3\.org/g, ""), name).not.toMatch(/["'`]https?:\/\//);
});
