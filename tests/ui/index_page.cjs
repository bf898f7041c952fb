// Opens the index page of the debug endpoints, has it make a trace, and sees that come to the Perfetto UI in another window.
//
//     node index_page.cjs '{"url": ..., "chromium": ..., "out": ..., "seconds": "0.5"}'
'use strict';
const {run} = require('./browser.cjs');

const LOADED_MS = 120_000;

run(async (page, job) => {
  await page.goto(job.url);
  await page.fill('input[name=seconds]', job.seconds);
  const opened = page.waitForEvent('popup', {timeout: LOADED_MS});
  await page.click('button[name=start]');
  const ui = await opened;
  await ui.waitForFunction(() => globalThis.app?.trace, null, {timeout: LOADED_MS});
  const facts = await ui.evaluate(async () => {
    const {engine, traceInfo} = globalThis.app.trace;
    const slices = await engine.query('select count(*) as n from slice');
    return {title: traceInfo.traceTitle, errors: Number(traceInfo.importErrors), slices: Number(slices.iter({}).get('n'))};
  });
  await page.screenshot({path: job.out});
  const save = await page.getAttribute('#save', 'download');
  return {...facts, save, said: await page.textContent('output')};
});
