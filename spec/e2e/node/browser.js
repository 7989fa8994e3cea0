// SPDX-License-Identifier: Apache-2.0
// Opens pages in Chromium and runs their `cases`: node browser.js [PREFIX PAGE_URL JSON]... Each line of the output is a case and what went
// wrong in it, as JSON: ["prefix_name", null]. The argument JSON is what the cases get.
"use strict";
const { chromium } = require("playwright-core");

const SECONDS = 8;

function within(promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not done after ${SECONDS} s`)), SECONDS * 1000)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function runPage(browser, prefix, url, given) {
  const page = await browser.newPage();
  page.on("pageerror", (err) => console.error(String(err)));
  await page.goto(url);
  const names = await page.evaluate("Object.keys(cases)");
  const run = async (name) => {
    const fault = await within(page.evaluate(`cases.${name}(${given})`)).then(() => null, (err) => String(err));
    console.log(JSON.stringify([`${prefix}_${name}`, fault]));
  };
  await Promise.all(names.map(run));
}

async function main() {
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args });
  try {
    const pages = [];
    for (let i = 2; i < process.argv.length; i += 3) pages.push(runPage(browser, ...process.argv.slice(i, i + 3)));
    await Promise.all(pages);
  } finally {
    await browser.close();
  }
}

main().catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
