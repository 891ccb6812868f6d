// Keeps the page new, says when it is not, and sends orders. It fetches nothing but from where it came.
"use strict";

const main = document.getElementById("main");
const { mount, pool, word } = main.dataset;
const heard = document.getElementById("heard");
const heardText = document.getElementById("heard-text");
const old = document.getElementById("old");
const oldText = document.getElementById("old-text");
const told = document.getElementById("told");

// Every second something is heard; after so many without, the figures are called old.
const PATIENCE = 4;
let last = Date.now();

function show(sections) {
    for (const { id, html } of sections) {
        const section = document.getElementById(id);
        // What somebody is filling in is left alone.
        if (!section || (section.contains(document.activeElement) && document.activeElement.closest("form"))) continue;
        const scrolled = section.querySelector(".events, .scroll");
        const [top, left] = scrolled ? [scrolled.scrollTop, scrolled.scrollLeft] : [0, 0];
        const focused = section.contains(document.activeElement) && document.activeElement.className;
        section.innerHTML = html;
        const again = section.querySelector(".events, .scroll");
        if (again) {
            again.scrollTop = top;
            again.scrollLeft = left;
            if (focused && focused === again.className) again.focus();
        }
    }
}

function listen() {
    const source = new EventSource(`${mount}/live?pool=${encodeURIComponent(pool)}`);
    source.addEventListener("look", (event) => {
        last = Date.now();
        show(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
        // A server that refuses ends it for good; one that is away is tried again by the browser.
        if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    });
}

function look() {
    const age = Math.round((Date.now() - last) / 1000);
    const isOld = age >= PATIENCE;
    heard.classList.toggle("live", !isOld);
    heardText.textContent = isOld ? "not connected" : "live";
    old.hidden = !isOld;
    oldText.textContent = `Nothing was heard for ${age} s; trying again.`;
}

function say(text, bad) {
    told.textContent = text;
    told.classList.toggle("bad", Boolean(bad));
    told.hidden = false;
}

function order(form, button) {
    const fields = Object.fromEntries(new FormData(form));
    if ("sql" in fields) return { pool, sql: fields.sql };
    if ("tables" in fields) {
        const tables = fields.tables.split(",").map((name) => name.trim()).filter(Boolean);
        return { tables, dry_run: fields.dry_run === "on" };
    }
    if (button?.name === "order") {
        const minutes = Number(fields.minutes);
        return { order: button.value, reason: fields.reason, seconds: minutes > 0 ? minutes * 60 : null };
    }
    return null;
}

function inWords(answer) {
    if (answer.cached !== undefined) {
        return answer.cached ? `Cached. It rests on ${answer.reads.join(", ") || "nothing"}.` : `Not cached: ${answer.sentence ?? "it writes."}`;
    }
    if (answer.tables) {
        const what = answer.everything ? `everything, since there is no ${answer.unknown.join(", ")}` : answer.tables.join(", ");
        return answer.dry_run ? `Would drop what rests on ${what}.` : `Dropped what rests on ${what}.`;
    }
    if (answer.state) return `The breaker is ${answer.state.replace("_", " ")} now.`;
    return answer.dropped ? "Everything was dropped." : "Done.";
}

document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.order) return;
    event.preventDefault();
    if (form.dataset.sure && !window.confirm(form.dataset.sure)) return;
    const body = order(form, event.submitter);
    try {
        const answer = await fetch(`${mount}/v1/${form.dataset.order}`, {
            method: "POST",
            headers: { "content-type": "application/json", "x-larder-word": word ?? "" },
            body: body && JSON.stringify(body),
        });
        const text = await answer.json();
        if (answer.ok) {
            document.activeElement?.blur();
            say(inWords(text));
        } else {
            say(text.detail ?? text.title, true);
        }
    } catch (error) {
        say(`The order did not arrive: ${error.message}`, true);
    }
});

listen();
look();
setInterval(look, 500);
