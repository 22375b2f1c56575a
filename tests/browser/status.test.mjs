// The status page as an operator meets it: live, in both colour schemes, on a phone, by keyboard.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launchBrowser } from './browser.mjs';
import { startSite } from './gateway.mjs';

let browser, site, context, page, said, asked;

describe('the status page', () => {
  before(async () => {
    [browser, site] = await Promise.all([launchBrowser(), startSite()]);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
  });
  beforeEach(() => open());
  afterEach(async () => {
    assert.deepEqual(said, [], 'the console has nothing to say');
    const elsewhere = asked.filter((url) => !url.startsWith(site.adminUrl) && url !== 'data:,');
    assert.deepEqual(elsewhere, [], 'nothing is asked for elsewhere');
    await context?.close();
  });

  async function open(options = {}, scripts = true) {
    await context?.close();
    context = await browser.newContext({ javaScriptEnabled: scripts, ...options });
    page = await context.newPage();
    [said, asked] = [[], []];
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.message));
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`${site.adminUrl}/`);
  }

  test('what happens appears by itself', async () => {
    const rows = page.locator('#refusal-rows tbody tr');
    const before = await rows.count();
    const path = `/nothing-${before}`;
    const refused = await fetch(site.publicUrl + path, { headers: { 'x-request-id': `seen-${before}` } });
    assert.ok(refused.status >= 400);

    const row = rows.filter({ hasText: path });
    await row.waitFor({ timeout: 15_000 });
    const text = await row.innerText();
    assert.match(text, new RegExp(`seen-${before}`));
    assert.match(text, /credential_missing/);
    assert.equal(await rows.count(), before + 1);
    const legend = page.locator('#reason-legend tbody tr', { hasText: 'credential_missing' });
    assert.match(await legend.innerText(), /\d+\s+\d+/);
    assert.ok(await page.locator('#reason-chart rect').count() > 0, 'the chart has a bar');
    const label = await page.locator('#reason-chart svg').getAttribute('aria-label');
    assert.match(label, /credential_missing \d/);
  });

  test('a paused page stays as it is, and goes on afterwards', async () => {
    const pause = page.getByRole('button', { name: 'Pause' });
    await pause.click();
    assert.equal(await pause.getAttribute('aria-pressed'), 'true');
    await fetch(`${site.publicUrl}/while-paused`);
    const polled = asked.length;
    await page.waitForTimeout(4500);
    assert.equal(asked.length, polled, 'nobody asks');
    await pause.click();
    await page.locator('#refusal-rows tr', { hasText: '/while-paused' }).waitFor();
  });

  test('health, keys, cache and routes are shown, and the configuration without its secrets', async () => {
    const parts = page.locator('#parts .part');
    for (const [name, state] of [['IAM provider', 'up'], ['Token service', 'up'], ['core', 'up'], ['bff', 'up']]) {
      const part = parts.filter({ has: page.getByRole('heading', { name, exact: true }) });
      assert.match(await part.innerText(), new RegExp(state), name);
    }
    assert.match(await page.locator('#parts').innerText(), /127\.0\.0\.1:\d+/);
    assert.match(await page.locator('#key-rows').innerText(), /env SESSION_KEY/);
    assert.match(await page.locator('#token-cache').innerText(), /Hit share/);
    assert.match(await page.locator('#route-rows').innerText(), /\/api\/credential\/v1/);
    await page.getByText('Every key, secrets hidden').click();
    const configuration = await page.locator('#configuration').innerText();
    assert.match(configuration, /secret: '\(hidden: env IAM_CLIENT_SECRET\)'/);
    assert.ok(!(await page.content()).includes(site.provider.clientSecret));
  });

  test('the form explains, by keyboard alone', async () => {
    await page.getByLabel('Path and query').focus();
    await page.keyboard.type('/api/credential/v1');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    await page.keyboard.type('{ "sub": "carol", "roles": [] }');
    await page.getByRole('button', { name: 'Explain', exact: true }).focus();
    await page.keyboard.press('Enter');
    const steps = page.locator('.steps tbody tr');
    await steps.first().waitFor();
    assert.equal(await steps.count(), 7);
    assert.match(await page.locator('.decision').innerText(), /refuse · 403 · role_missing/);
    assert.match(await page.locator('.steps').innerText(), /carol/);

    await page.getByLabel('Headers').fill('Authorization: Bearer x');
    await page.getByRole('button', { name: 'Explain', exact: true }).click();
    await page.getByText('credentials are not taken here').waitFor();
    // Chromium tells of every answer that is an error.
    said = said.filter((line) => !line.includes('status of 400'));
  });

  test('a refusal fills in the form', async () => {
    await fetch(`${site.publicUrl}/api/credential/v1`, { method: 'POST' });
    await page.reload();
    await page.getByRole('button', { name: /^Explain the refusal/ }).first().click();
    assert.equal(await page.getByLabel('Path and query').inputValue(), '/api/credential/v1');
    assert.equal(await page.getByLabel('Method').inputValue(), 'POST');
    await page.locator('.decision', { hasText: 'credential_missing' }).waitFor();
  });

  test('the keyboard reaches everything in order, and one sees where it is', async () => {
    const at = () => page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      const one = document.activeElement;
      const name = one.id || one.getAttribute('href') || one.getAttribute('aria-label') || one.textContent.trim();
      return { name, seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
    });
    await page.keyboard.press('Tab');
    assert.equal((await at()).name, '#main', 'the skip link is first');
    const order = [];
    for (let step = 0; step < 200; step += 1) {
      await page.keyboard.press('Tab');
      const here = await at();
      if (here.name === 'metrics') break;
      assert.ok(here.seen, `${here.name} has no visible focus`);
      order.push(here.name);
    }
    const expected = ['pause', '#health', '#settings', 'method', 'path', 'host', 'as', 'claims', 'headers', 'body', 'status.json'];
    assert.deepEqual(order.filter((name) => expected.includes(name)), expected);
  });

  test('every field has a label, every table a header for each column', async () => {
    const faults = await page.evaluate(() => {
      const bad = [];
      for (const field of document.querySelectorAll('input, select, textarea')) {
        if (!field.labels?.length) bad.push(field.name);
      }
      for (const table of document.querySelectorAll('table')) {
        const columns = table.querySelectorAll('thead th[scope=col]').length;
        for (const row of table.querySelectorAll('tbody tr')) {
          if (row.cells.length !== columns || !row.querySelector('th[scope=row]')) bad.push(table.id);
        }
      }
      const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
      bad.push(...ids.filter((id, index) => ids.indexOf(id) !== index));
      return bad;
    });
    assert.deepEqual(faults, []);
  });

  for (const colorScheme of ['light', 'dark']) {
    test(`${colorScheme}: readable, and nothing moves who wants it so`, async () => {
      await open({ colorScheme, reducedMotion: 'reduce' });
      const { ground, least, motion } = await page.evaluate(() => {
        const channels = (text) => text.match(/[\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
          .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
          .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
        const behind = (one) => {
          const colour = channels(getComputedStyle(one).backgroundColor);
          return colour[3] === undefined || colour[3] === 1 ? colour : behind(one.parentElement);
        };
        let lowest = [99, ''];
        for (const one of document.querySelectorAll('h1, h2, p, td, th, dt, dd, label, summary, a, code')) {
          if (one.classList.contains('skip') || !one.textContent.trim()) continue;
          const [fore, back] = [channels(getComputedStyle(one).color), behind(one)].map(light);
          const contrast = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
          if (contrast < lowest[0]) lowest = [contrast, one.outerHTML.slice(0, 120)];
        }
        const style = getComputedStyle(document.documentElement);
        const body = light(channels(getComputedStyle(document.body).backgroundColor));
        return { ground: body, least: lowest, motion: style.scrollBehavior };
      });
      assert.equal(motion, 'auto');
      assert.ok(colorScheme === 'dark' ? ground < 0.1 : ground > 0.7, `${ground}`);
      assert.ok(least[0] >= 4.5, `${least}`);
    });
  }

  test('it fits a phone of 360 pixels', async () => {
    await open({ viewport: { width: 360, height: 780 }, hasTouch: true, isMobile: true });
    await page.getByLabel('Path and query').fill('/api/config/v1');
    await page.getByRole('button', { name: 'Explain', exact: true }).click();
    await page.locator('.steps').waitFor();
    await page.getByText('Every key, secrets hidden').click();
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.equal(wider, 0, 'nothing scrolls sideways');
    const small = await page.evaluate(() => [...document.querySelectorAll('main button, nav a')]
      .filter((one) => one.offsetHeight < 32).map((one) => one.textContent));
    assert.deepEqual(small, [], 'a finger hits everything');
  });

  test('without scripts it shows the same, and says what does not work', async () => {
    await open({}, false);
    assert.ok(await page.locator('#parts .part').count() >= 4);
    assert.ok(await page.locator('#decision-chart svg').isVisible());
    assert.ok(await page.getByText('The form needs scripts').isVisible());
    assert.equal(await page.locator('#question').isVisible(), false);
  });
});
