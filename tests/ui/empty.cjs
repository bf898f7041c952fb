// Opens a page of the format html in which there is nothing to see.
//
//     node empty.cjs '{"url": ..., "chromium": ...}'
'use strict';
const {run} = require('./browser.cjs');

run(async (page, job) => {
  await page.goto(job.url);
  await page.waitForFunction(() => document.body.dataset.ready === 'yes');
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
  return {summary: await page.textContent('#summary')};
});
