// `load-tests/run` against a gateway on loopback, and its report as Chromium shows it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { launchBrowser } from './browser.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const BINARIES = process.env.PORTCULLIS_BIN_DIR
  ?? resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'debug');
const CLIENTS = 64;

let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portcullis-report-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Runs scenarios; `onLine` sees each line of progress and the process. */
async function run(out, words, onLine = () => {}) {
  const child = spawn(
    join(ROOT, 'load-tests/run'),
    ['--binaries', BINARIES, '--closed', '--out', join(folder, out), ...words],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text;
    if (text.includes('\n')) onLine(text, child);
  });
  const [code] = await once(child, 'close');
  return { code, said };
}

const report = async (out) => JSON.parse(await readFile(join(folder, out, 'report.json')));

test('a short run ends in a page whose plots are drawn, of the numbers that were measured', {
  timeout: 120_000,
}, async (t) => {
  const { code, said } = await run('page', [
    '--only', 'pass-through,bearer,storm,refusals', '--rounds', '1', '--seconds', '1',
    '--connections', CLIENTS,
  ].map(String));
  assert.equal(code, 0, said);

  const values = await report('page');
  const entries = new Map(values.entries.map((entry) => [entry.name, entry]));
  assert.deepEqual([...entries.keys()], ['pass-through', 'bearer', 'storm', 'refusals']);
  for (const { name, rounds: [round] } of values.entries) {
    assert.ok(round.requests > 0 && round.per_second > 0, name);
    assert.ok(round.shown.p50 > 0 && round.shown.p50 <= round.shown.p99, name);
    assert.ok(round.cpu_us.gateway > 0 && round.memory_mib.gateway > 0, name);
  }
  const storm = entries.get('storm').rounds[0];
  assert.deepEqual(storm.statuses, { 200: CLIENTS });
  assert.equal(storm.counted.miss, 1);

  const browser = await launchBrowser();
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 390, height: 800 } });
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  const faults = [];
  page.on('console', (message) => faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(String(error)));
  await page.goto(pathToFileURL(join(folder, 'page', 'report.html')).href);

  const rows = await page.locator('#summary tbody tr').evaluateAll(
    (found) => found.map((row) => [...row.cells].map((cell) => cell.textContent)),
  );
  assert.deepEqual(rows.map(([name]) => name), [...entries.keys()]);
  for (const [name, perSecond, p50] of rows) {
    const [round] = entries.get(name).rounds;
    assert.equal(Number(perSecond.replaceAll(',', '')), Math.round(round.per_second), name);
    assert.ok(Math.abs(Number(p50.replaceAll(',', '')) - round.shown.p50) < 0.6, name);
  }

  for (const name of entries.keys()) {
    const plots = await page.locator(`section#${name} svg`).evaluateAll((found) => found.map(
      (svg) => ({
        label: svg.getAttribute('aria-label'),
        width: svg.getBoundingClientRect().width,
        marks: [...svg.querySelectorAll('path.line, rect.bar, circle.dot')]
          .filter((mark) => {
            const { width, height } = mark.getBoundingClientRect();
            return width + height > 1 && getComputedStyle(mark).visibility === 'visible';
          }).length,
      }),
    ));
    assert.ok(plots.some(({ label }) => label.endsWith('answers a second')), name);
    assert.ok(plots.some(({ label }) => label.endsWith('latency')), name);
    for (const { label, width, marks } of plots) {
      assert.ok(width > 250 && width <= 390, `${label} is ${width} wide`);
      assert.ok(marks > 0, `${label} is empty`);
    }
  }

  // A phone has nothing to scroll sideways but the table.
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 390);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await paper(), light);

  assert.deepEqual(asked.filter((url) => !/^(file|data):/.test(url)), []);
  assert.deepEqual(faults, []);
});

test('Ctrl-C reports what there is so far', { timeout: 60_000 }, async () => {
  const { code, said } = await run(
    'stopped',
    ['--only', 'pass-through', '--rounds', '500', '--seconds', '1', '--connections', '4'],
    (text, child) => {
      if (/pass-through: [\d,]+\/s/.test(text)) child.kill('SIGINT');
    },
  );
  assert.equal(code, 130, said);
  const { stopped, entries: [entry] } = await report('stopped');
  assert.equal(stopped, true);
  assert.ok(entry.rounds.length >= 1 && entry.rounds.length < 500);
  assert.ok(entry.rounds[0].requests > 0);
});
