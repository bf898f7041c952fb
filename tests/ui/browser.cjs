// What the scripts of this folder share: a headless Chromium, and an ear for what its pages complain about.
//
//     run(async (page, job, heard) => facts)   with the job from the command line, one JSON object,
//                                              which names at least `chromium`; prints {...facts, ...heard}
//
// A job with {"site": {"origin": "https://...", "folder": ...}} finds that site's files in the folder.
'use strict';
const {existsSync} = require('node:fs');
const {join} = require('node:path');
const {chromium} = require('playwright-core');

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];

/** Everything that the page complains about, and asks others than itself for. */
function listen(page, quiet) {
  const heard = {complaints: [], requests: []};
  const complain = (text) => { if (!quiet.some((each) => each.test(text))) heard.complaints.push(text); };
  page.on('pageerror', (error) => complain(String(error.stack ?? error)));
  page.on('console', (said) => { if (said.type() === 'error') complain(said.text()); });
  page.on('dialog', (dialog) => { complain(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('response', (answer) => { if (answer.status() >= 400) complain(`${answer.status()}: ${answer.url()}`); });
  page.on('request', (asked) => { if (!/^(data|blob):/.test(asked.url())) heard.requests.push(asked.url()); });
  return heard;
}

/**
 * Lets a public site come from a folder: its pages have its origin, and all else is as it is out there. A person
 * is asked whether such a page may reach this machine; here the answer is yes.
 */
async function standIn(page, {origin, folder}) {
  await page.context().grantPermissions(['local-network-access'], {origin});
  await page.context().route(`${origin}/**`, (route) => { // also for the windows that it opens
    const {pathname} = new URL(route.request().url());
    const path = join(folder, pathname === '/' ? 'index.html' : pathname);
    return existsSync(path) ? route.fulfill({path}) : route.fulfill({status: 404});
  });
}

async function drive(act, job, quiet) {
  const browser = await chromium.launch({executablePath: job.chromium, args: ARGUMENTS});
  try {
    const page = await browser.newPage({viewport: {width: job.width ?? 1500, height: job.height ?? 900}});
    const heard = listen(page, quiet);
    if (job.site) await standIn(page, job.site);
    console.log(JSON.stringify({...await act(page, job), ...heard}));
  } finally {
    await browser.close();
  }
}

/** Act on a page; `quiet`: complaints of the viewer itself, which say nothing of our file. */
exports.run = (act, quiet = []) => drive(act, JSON.parse(process.argv[2]), quiet).catch((error) => {
  console.error(error);
  process.exit(1);
});
