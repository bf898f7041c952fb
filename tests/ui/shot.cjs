// Opens the Perfetto UI in headless Chromium, arranges it, and takes a picture.
//
//     node shot.cjs '{"url": ..., "out": ..., "chromium": ..., "width": ..., "height": ...,
//                     "expand": true, "from": ns, "to": ns, "select": "name", "search": "text"}'
//
// Prints one JSON object: what the UI said about the trace, and whatever went wrong in the page.
'use strict';
const {run} = require('./browser.cjs');

const LOADED_MS = 120_000;
const IDLE_MS = 500;

// what this UI says on any trace: it asks its makers whether the user is one of them, the loopback for a
// trace_processor, and its server whether its own sources have changed
const OWN = [/Content.Security.Policy/, /^Failed to load resource: net::ERR_/, /^LiveReload/];

async function open(page, url) {
  const {hostname} = new URL(url);
  await page.route((asked) => ![hostname, '127.0.0.1'].includes(asked.hostname), (route) => route.abort());
  await page.addInitScript(() => localStorage.setItem('cookieAck', 'true')); // else a banner lies over the tracks
  await page.goto(url);
  await page.waitForFunction(() => globalThis.app?.trace, null, {timeout: LOADED_MS});
  await settle(page);
}

async function settle(page) {
  await page.evaluate((ms) => globalThis.waitForPerfettoIdle(ms), IDLE_MS);
  await page.waitForTimeout(IDLE_MS);
}

/** Runs in the page: opens all groups and selects a slice; false if there is no such slice. */
async function arrange(job) {
  const trace = globalThis.app.trace;
  if (job.expand) await trace.commands.runCommand('dev.perfetto.ExpandAllGroups');
  if (job.select === null) return true;
  const quoted = job.select.replaceAll("'", "''");
  const found = await trace.engine.query(`select id from slice where name = '${quoted}' order by ts limit 1`);
  if (found.numRows() === 0) return false;
  const how = {scrollToSelection: true, switchToCurrentSelectionTab: true};
  await trace.selection.selectSqlEvent('slice', Number(found.iter({}).get('id')), how);
  return true;
}

/** Runs in the page: shows a stretch of time, given in ns from the trace's start. */
function zoom(job) {
  if (job.from === null && job.to === null) return;
  const {timeline, traceInfo: {start, end}} = globalThis.app.trace;
  const from = job.from === null ? start : start + BigInt(job.from);
  timeline.setViewportTime(from, job.to === null ? end : start + BigInt(job.to));
}

/** Runs in the page: facts about the trace. */
async function describe() {
  const trace = globalThis.app.trace;
  const slices = await trace.engine.query('select count(*) as n from slice');
  const tracks = (trace.workspace ?? trace.currentWorkspace).flatTracks;
  return {
    version: JSON.parse(document.body.dataset.perfetto_version ?? '{}').stable,
    errors: Number(trace.traceInfo.importErrors),
    slices: Number(slices.iter({}).get('n')),
    tracks: tracks.length,
    names: tracks.map((track) => track.name ?? track.title),
  };
}

/** Types a text into the search, as a person would; how many events it finds. */
async function search(page, text) {
  if (!text) return null;
  await page.fill('.pf-omnibox input', text);
  await page.press('.pf-omnibox input', 'Enter');
  await page.waitForFunction(() => !globalThis.app.trace.search.searchInProgress && globalThis.app.trace.search.searchResults);
  return page.evaluate(() => globalThis.app.trace.search.searchResults.totalResults);
}

run(async (page, job) => {
  await open(page, job.url);
  const found = await page.evaluate(arrange, job);
  await settle(page);
  const results = await search(page, job.search);
  await page.evaluate(zoom, job); // last, for a selection moves the view
  await settle(page);
  await page.screenshot({path: job.out});
  return {...await page.evaluate(describe), found, results};
}, OWN);
