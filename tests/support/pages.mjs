// Looks at pages in a browser: `node pages.mjs AXE PLAYWRIGHT CHROMIUM < WHAT`, the folders in which both are installed, and the
// browser's program. WHAT is JSON: {"visits": [{"url", "width", "dark", "axe"}], "refresh": {"url", "put", "token", "before", "after"}};
// prints a JSON object with what was seen of each.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const [axeFolder, playwrightFolder, program] = process.argv.slice(2);
const { chromium } = createRequire(join(playwrightFolder, "any.js"))("playwright-core");
const axe = await readFile(createRequire(join(axeFolder, "any.js")).resolve("axe-core/axe.min.js"), "utf8");

let text = "";
for await (const part of process.stdin) text += part;
const asked = JSON.parse(text);
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"] });

async function open(context, url) {
    const page = await context.newPage();
    const seen = { elsewhere: [], errors: [] };
    page.on("request", (one) => { if (new URL(one.url()).origin !== new URL(url).origin) seen.elsewhere.push(one.url()); });
    page.on("console", (one) => { if (one.type() === "error") seen.errors.push(one.text()); });
    page.on("pageerror", (one) => seen.errors.push(String(one)));
    await page.goto(url, { waitUntil: "load" });
    return [page, seen];
}

async function visit(context, one) {
    const [page, seen] = await open(context, one.url);
    let found = { violations: [] };
    if (one.axe) {
        await page.evaluate(axe); // by the debugger: the page's own policy lets no such script in
        found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
    }
    const shape = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    const tiles = await page.evaluate(() => [...document.querySelectorAll(".tiles b")].map((each) => each.textContent));
    await page.close();
    const violations = found.violations.map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
    return { ...one, ...seen, violations, overflow: shape[0] > shape[1], tiles };
}

// A visitor has opened a list and stands on its summary, while the seeder says something else.
async function refresh({ url, put, token, before, after }) {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    const beat = (report) => fetch(put, { method: "PUT", headers, body: JSON.stringify(report) });
    await beat(before);
    const context = await browser.newContext();
    const [page, seen] = await open(context, url);
    await page.locator("summary").first().click();
    await page.locator("summary").first().focus();
    await page.evaluate(() => { window.mark = document.querySelector("summary"); });
    await beat(after);
    await page.evaluate(() => document.dispatchEvent(new Event("llmpt:refresh")));
    await page.getByText(after.problems[0].reason).first().waitFor({ state: "attached", timeout: 10_000 });
    const kept = await page.evaluate(() => ({
        open: document.querySelector("details").open,
        focus: document.activeElement === window.mark && window.mark.isConnected,
    }));
    await context.close();
    return { ...seen, ...kept };
}

const contexts = new Map();
const visits = [];
for (const one of asked.visits ?? []) {
    const key = `${one.width} ${one.dark}`;
    if (!contexts.has(key)) {
        const scheme = one.dark ? "dark" : "light";
        contexts.set(key, await browser.newContext({ viewport: { width: one.width, height: 800 }, colorScheme: scheme }));
    }
    visits.push(await visit(contexts.get(key), one));
}
const refreshed = asked.refresh ? await refresh(asked.refresh) : null;
await browser.close();
console.log(JSON.stringify({ visits, refreshed }));
