// Has speedscope's own importer read a file, and speedscope write down what it then knows.
//
//     node speedscope.cjs '{"url": "http://.../#profileURL=...", "chromium": ..., "export": "out.json", "out": "picture.png"}'
'use strict';
const {run} = require('./browser.cjs');

run(async (page, job) => {
  await page.goto(job.url);
  const button = page.getByText('Export', {exact: false}).first();
  await button.waitFor({timeout: 60_000}); // it is there once a profile is
  await page.screenshot({path: job.out});
  const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
  await download.saveAs(job.export);
  return {title: await page.title()};
});
