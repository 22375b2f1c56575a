// Debian's Chromium, as a person would use it: each browser context is somebody's own browser.

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

// Without these Chromium looks up hosts of its own at every start, which a closed network refuses.
const QUIET = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
];

/** Starts a browser. A machine without one is a fault to be told, never a reason to skip. */
export async function launchBrowser() {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(`${EXECUTABLE} is missing; tests/install-prerequisites brings it`);
  }
  const root = process.getuid?.() === 0;
  return chromium.launch({
    executablePath: EXECUTABLE,
    headless: true,
    // Chromium's sandbox cannot be set up by root.
    chromiumSandbox: !root,
    args: [...QUIET, '--disable-gpu', ...(root ? ['--no-sandbox'] : [])],
  });
}

/** Fills in the provider's form, on which `page` stands. */
export async function logIn(page, user, password = user) {
  await page.getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}
