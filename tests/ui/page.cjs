// Opens a page of the format html, finds something in it, and takes a picture.
//
//     node page.cjs '{"url": ..., "chromium": ..., "find": "text", "filter": "text", "colors": ["#rrggbb"], "out": ...}'
'use strict';
const {run} = require('./browser.cjs');

const LOADED_MS = 60_000;

/** What stands in the list of tracks, scrolled from its top to its end. */
async function trackNames(page) {
  return page.evaluate(async () => {
    const list = document.getElementById('tracks');
    const found = new Set();
    for (let top = 0; top <= list.scrollHeight; top += list.clientHeight || 1) {
      list.scrollTop = top;
      await new Promise((done) => requestAnimationFrame(done)); // behind the scroll event
      for (const each of list.querySelectorAll('.name')) found.add(each.textContent.trim());
    }
    list.scrollTop = 0;
    return [...found];
  });
}

/** Which of some colours the timeline shows: it is a canvas, and says nothing else. */
async function colors(page, wanted) {
  return page.evaluate((wanted) => {
    const canvas = document.querySelector('#chart canvas');
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let at = 0; at < data.length; at += 4) found.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    return wanted.filter((color) => found.has(parseInt(color.slice(1), 16)));
  }, wanted);
}

const settle = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

run(async (page, job) => {
  await page.goto(job.url);
  await page.waitForFunction(() => document.body.dataset.ready === 'yes', null, {timeout: LOADED_MS});
  await settle(page);
  const facts = {
    summary: await page.textContent('#summary'), keys: await page.innerText('#keys'),
    tracks: await trackNames(page), before: await colors(page, job.colors),
    drawn: await page.evaluate(() => document.querySelectorAll('.track').length),
  };
  await page.fill('#find', job.find);
  await page.press('#find', 'Enter');
  await settle(page);
  Object.assign(facts, {
    count: await page.textContent('#count'), detail: await page.innerText('#detail'), after: await colors(page, job.colors),
  });
  await page.screenshot({path: job.out});
  const zoomed = await page.evaluate(() => document.querySelector('#chart canvas').toDataURL());
  await page.hover('#chart canvas');
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -200);
  await page.keyboard.up('Control');
  await page.waitForFunction((old) => document.querySelector('#chart canvas').toDataURL() !== old, zoomed);
  await page.selectOption('#order', 'longest');
  const longest = await page.textContent('.track .name');
  await page.fill('#filter', job.filter);
  return {...facts, longest: longest.trim(), shown: await page.textContent('#shown'), filtered: await trackNames(page)};
});
