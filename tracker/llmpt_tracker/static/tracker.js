// Fetches the page that is shown anew, and changes in it what has changed: nodes stay, and with them focus, scroll and open details.
// Without this script, and while the server does not answer, the page stands as it came.
"use strict";

const EVERY_MS = 10_000;
const COPIED_MS = 2_000;
const KEPT = new Set(["open", "value", "checked"]); // what a visitor changes
let timer = 0;
let busy = false;

document.documentElement.classList.add("script");

function isSame(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
}

function takeOver(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  const isBar = old.nodeName === "PROGRESS";
  for (const name of fresh.getAttributeNames()) {
    if ((isBar || !KEPT.has(name)) && old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
  }
  for (const name of old.getAttributeNames()) {
    if ((isBar || !KEPT.has(name)) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  takeOverChildren(old, fresh);
}

function takeOverChildren(old, fresh) {
  const children = [...fresh.childNodes];
  const named = new Map([...old.children].filter((one) => one.id).map((one) => [one.id, one]));
  let at = old.firstChild;
  const drop = () => {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  };
  children.forEach((child, place) => {
    const isText = child.nodeType !== Node.ELEMENT_NODE;
    const isGone = (one) => one.nodeType !== Node.ELEMENT_NODE || !children.slice(place).some((later) => isSame(one, later));
    while (!isText && at && !isSame(at, child) && isGone(at)) drop();
    const its = child.id ? named.get(child.id) : null;
    if (at && isSame(at, child)) {
      takeOver(at, child);
      at = at.nextSibling;
    } else if (its && its.isConnected) {
      old.insertBefore(its, at);
      takeOver(its, child);
    } else {
      old.insertBefore(document.importNode(child, true), at);
    }
  });
  while (at) drop();
}

async function refresh() {
  if (busy || document.hidden) return;
  busy = true;
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of document.querySelectorAll("[data-live][id]")) {
      const its = fresh.getElementById(region.id);
      if (its) takeOver(region, its);
    }
    if (stale && stale.textContent) stale.textContent = "";
  } catch {
    const since = new Date().toLocaleTimeString();
    if (stale && !stale.textContent) stale.textContent = `The server does not answer since ${since}: this page is from before.`;
  }
  busy = false;
}

async function tick() {
  await refresh();
  plan();
}

const isLive = () => document.querySelector("[data-live][id]") !== null; // a page of forms is not

function plan() {
  clearTimeout(timer);
  if (!document.hidden && isLive()) timer = setTimeout(tick, EVERY_MS);
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent); // https and localhost only
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (isLive()) tick();
});
document.addEventListener("llmpt:refresh", refresh);
plan();
