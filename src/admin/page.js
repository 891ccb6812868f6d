// Keeps the page new, says when it is not, and sends orders. It fetches nothing but from where it came.
"use strict";

const main = document.getElementById("main");
const { mount, pool, word } = main.dataset;
const heard = document.getElementById("heard");
const heardText = document.getElementById("heard-text");
const old = document.getElementById("old");
const oldText = document.getElementById("old-text");
const told = document.getElementById("told");
const toldText = document.getElementById("told-text");

// Every second something is heard; after so many without, the figures are called old.
const PATIENCE = 4;
// When something was heard last, or it began to listen; and whether anything was heard since then.
let last = Date.now();
let isHeard = false;

// Makes one piece of the page like another, and leaves alone what its user does to it: what has the focus, what is typed, what is open,
// what is scrolled.
function patch(now, then) {
    if (now.nodeType !== then.nodeType || now.nodeName !== then.nodeName) {
        now.replaceWith(then);
        return;
    }
    if (now.nodeType === Node.TEXT_NODE) {
        if (now.data !== then.data) now.data = then.data;
        return;
    }
    if (now.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name, value } of [...then.attributes]) {
        if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    for (const { name } of [...now.attributes]) {
        if (!then.hasAttribute(name) && !(now.nodeName === "DETAILS" && name === "open")) now.removeAttribute(name);
    }
    const [old, fresh] = [[...now.childNodes], [...then.childNodes]];
    fresh.forEach((child, at) => (old[at] ? patch(old[at], child) : now.append(child)));
    old.slice(fresh.length).forEach((child) => child.remove());
}

function show(sections) {
    for (const { id, html } of sections) {
        const section = document.getElementById(id);
        if (!section) continue;
        const closed = [...section.querySelectorAll("details:not([open])")].length > 0;
        const then = section.cloneNode(false);
        then.innerHTML = html;
        if (closed) then.querySelectorAll("details").forEach((details) => details.removeAttribute("open"));
        patch(section, then);
    }
}

let source = null;

function listen() {
    source?.close();
    source = new EventSource(`${mount}/live?pool=${encodeURIComponent(pool)}`);
    source.addEventListener("look", (event) => {
        last = Date.now();
        isHeard = true;
        show(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
        // A server that refuses ends it for good; one that is away is tried again by the browser.
        if (source.readyState === EventSource.CLOSED) setTimeout(ask, 2000);
    });
}

// Why it refuses: who is not known any more has to log in again.
async function ask() {
    try {
        const answer = await fetch(`${mount}/v1/info`);
        if (answer.status === 401) {
            location.reload();
            return;
        }
    } catch {
        // Not there: tried again.
    }
    listen();
}

// A browser has few connections to one server: pages that nobody sees leave theirs to others.
document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
        source?.close();
        return;
    }
    last = Date.now();
    isHeard = false;
    listen();
});

function set(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

function look() {
    const age = Math.round((Date.now() - last) / 1000);
    const isOld = age >= PATIENCE && !document.hidden;
    heard.classList.toggle("live", isHeard && !isOld);
    set(heardText, isOld ? "not connected" : isHeard ? "live" : "connecting");
    if (old.hidden === isOld) old.hidden = !isOld;
    if (isOld) set(oldText, `Since ${age} s; trying again.`);
}

function say(text, bad) {
    toldText.textContent = text;
    told.classList.toggle("bad", Boolean(bad));
    told.hidden = false;
}

// The answer to an order is not to be taken for that to the next.
function sayNothing() {
    toldText.textContent = "";
    told.hidden = true;
}

document.getElementById("told-close").addEventListener("click", sayNothing);

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
        const rests = () => `It rests on ${answer.reads.join(", ") || "nothing"}.`;
        if (answer.cached) return `Cached. ${rests()}`;
        return answer.scope ? `Cached only under a scope, by pool.scoped(..): ${answer.scope}. ${rests()}` : `Not cached: ${answer.sentence ?? "it writes."}`;
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
    if ("logOut" in form.dataset) {
        event.preventDefault();
        await fetch(`${mount}/logout`, { method: "POST", headers: { "x-larder-word": word ?? "" } });
        location.reload();
        return;
    }
    if (!form.dataset.order) return;
    event.preventDefault();
    const sure = event.submitter?.dataset.sure ?? form.dataset.sure;
    if (sure && !window.confirm(sure)) return;
    sayNothing();
    const body = order(form, event.submitter);
    try {
        const answer = await fetch(`${mount}/v1/${form.dataset.order}`, {
            method: "POST",
            headers: { "content-type": "application/json", "x-larder-word": word ?? "" },
            body: body && JSON.stringify(body),
        });
        const text = await answer.json();
        if (answer.ok) {
            form.querySelectorAll("input[name=reason], input[name=minutes]").forEach((field) => (field.value = ""));
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
