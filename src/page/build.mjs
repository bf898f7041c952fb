/**
 * Makes the page: `node build.mjs NODE_MODULES OUT` writes OUT/page.html and OUT/LICENSES.txt.
 *
 * The page has all that it needs. `%TRACE%` stays in it: the encoder replaces that by the trace.
 */
import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const [modules, out] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const {buildSync, transformSync} = createRequire(join(modules, 'x.js'))('esbuild');

const read = (name) => readFileSync(join(here, name), 'utf8');
const hash = (text) => `sha256-${createHash('sha256').update(text).digest('base64')}`;

const bundle = buildSync({
  absWorkingDir: here,
  entryPoints: ['main.js'],
  nodePaths: [modules],
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none', // the page has all licences, whole
  metafile: true,
  write: false,
});

/** Return the packages whose code is in the bundle. */
function packages({inputs}) {
  const found = Object.keys(inputs).flatMap((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []);
  return [...new Set(found)].sort();
}

function license(name) {
  const {version, license: kind} = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
  const file = ['LICENSE', 'LICENSE.md', 'license'].map((each) => join(modules, name, each)).find(existsSync);
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${kind})\n\n${readFileSync(file, 'utf8').trim()}\n`;
}

const script = bundle.outputFiles[0].text.trim().replaceAll('</script', '<\\/script');
const style = transformSync(read('page.css'), {loader: 'css', minify: true}).code.trim();
const licenses = packages(bundle.metafile).map(license).join('\n----\n\n');
const parts = {
  SCRIPT: script, STYLE: style, LICENSES: licenses.replaceAll('--', '- -').trim(),
  SCRIPT_HASH: hash(script), STYLE_HASH: hash(style),
};
const page = read('page.html').replace(/%([A-Z_]+)%/g, (whole, name) => parts[name] ?? whole);
mkdirSync(out, {recursive: true});
writeFileSync(join(out, 'page.html'), page);
writeFileSync(join(out, 'LICENSES.txt'), licenses);
