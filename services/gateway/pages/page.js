// Keeps the control room fresh: fetches the page again and swaps its content, never under someone's hands.
"use strict";

const EVERY_MS = 4000;
const main = document.getElementById("main");

function inUse() {
  const typed = [...main.querySelectorAll("input:not([type=hidden])")].some((field) => field.value !== "");
  const open = main.querySelector("details[open]") !== null;
  return typed || open || main.contains(document.activeElement) || String(window.getSelection()) !== "";
}

async function refresh() {
  if (document.hidden || inUse()) return;
  const answer = await fetch(location.pathname + location.search.replace(/([?&])done=[^&]*/, "$1"), { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const content = fresh.getElementById("main");
  if (content && !inUse()) {
    main.replaceChildren(...content.childNodes);
    document.title = fresh.title;
  }
}

if (main.dataset.page === "room") {
  // A gateway that restarts is no error here: the next turn asks again.
  setInterval(() => refresh().catch(() => {}), EVERY_MS);
}
