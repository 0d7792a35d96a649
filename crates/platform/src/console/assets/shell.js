// What every page does: asks the service, follows its snapshots, confirms before it acts, writes numbers.
"use strict";

const hotstock = (() => {
  const byId = (id) => document.getElementById(id);

  // Every request of every page goes through here, the stream included: a header for all of them is added here.
  // From the origin: where the page was opened with name and password in its address, browsers refuse to ask from that.
  function ask(path, options = {}) {
    return fetch(new URL(path, location.origin), { cache: "no-store", credentials: "same-origin", ...options });
  }

  // One request and its whole answer. Never throws: no answer is status 0.
  async function call(method, path, { body, headers = {} } = {}) {
    const begun = performance.now();
    const options = { method, headers };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      headers["Content-Type"] = "application/json";
    }
    try {
      const response = await ask(path, options);
      const text = await response.text();
      return {
        ok: response.ok,
        status: response.status,
        body: text ? JSON.parse(text) : null,
        replayed: response.headers.get("Idempotency-Replayed") === "true",
        ms: performance.now() - begun,
      };
    } catch (error) {
      return { ok: false, status: 0, body: null, replayed: false, ms: performance.now() - begun, error };
    }
  }

  // Why a request did not succeed, for people.
  function reason(answer) {
    if (answer.status === 0) return "No answer. Is the service running?";
    const { error, message } = answer.body ?? {};
    return message ? `${message} (${error}, ${answer.status})` : `Status ${answer.status}`;
  }

  // ---- snapshots ----

  const STALE_MS = 4000;
  const RETRY_MS = 2000;

  function connection(state, text) {
    const pill = byId("connection");
    pill.dataset.state = state;
    write(pill, text);
  }

  // Follows the snapshots at `path`, for ever. Not an EventSource: that can neither send a header nor show a refusal.
  async function follow(path, show) {
    for (;;) {
      const why = await once(path, show);
      connection("lost", why);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async function once(path, show) {
    const abort = new AbortController();
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), STALE_MS);
    };
    try {
      const response = await ask(path, { headers: { Accept: "text/event-stream" }, signal: abort.signal });
      if (response.status === 429) return "too many viewers; trying again";
      if (!response.ok) return `no live numbers (${response.status}); trying again`;
      alive();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return "the service has stopped; trying again";
        alive();
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        const last = events.at(-1);
        if (last === undefined) continue;
        connection("live", "live");
        show(JSON.parse(last.slice(last.indexOf("data: ") + 6)));
      }
    } catch {
      return "not connected; trying again";
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  // ---- writing ----

  // Writes only what has changed: the page stays calm, and so do screen readers.
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function mark(element, name, value) {
    if (element.dataset[name] !== value) element.dataset[name] = value;
  }

  // An element: element("p.small", "text", child, ...).
  function element(what, ...children) {
    const [tag, ...classes] = what.split(".");
    const made = document.createElement(tag);
    if (classes.length) made.className = classes.join(" ");
    made.append(...children);
    return made;
  }

  // One child of `list` per item, in their order; kept by key, so that focus and scroll stay where they are.
  function each(list, items, key, make, update) {
    const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
    items.forEach((item, at) => {
      const name = String(key(item));
      let child = known.get(name);
      known.delete(name);
      if (!child) {
        child = make(item);
        child.dataset.key = name;
      }
      if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null);
      update?.(child, item);
    });
    known.forEach((child) => child.remove());
  }

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
  const rate = (n) => (n === null || n === undefined ? "–" : n < 10 ? short.format(n) : whole.format(n));

  function millis(s) {
    if (s === null || s === undefined) return "–";
    const ms = s * 1000;
    return ms < 1 ? `${ms.toFixed(2)} ms` : ms < 100 ? `${ms.toFixed(1)} ms` : `${whole.format(ms)} ms`;
  }

  function span(ms) {
    const s = Math.max(0, ms) / 1000;
    if (s < 10) return `${s.toFixed(1)} s`;
    if (s < 60) return `${Math.floor(s)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  }

  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

  // A bar's length. By the object model: the policy forbids style attributes.
  function length(bar, share) {
    bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  }

  // ---- actions ----

  const dialog = byId("confirm");
  const [cancel, go] = [byId("confirm-cancel"), byId("confirm-go")];

  // Asks, does, shows what came of it. `look`, if any, runs first and shows what would be done.
  function confirm({ title, text, verb, danger, look, run }) {
    const opener = document.activeElement;
    write(byId("confirm-title"), title);
    write(byId("confirm-text"), text);
    byId("confirm-result").replaceChildren();
    write(go, verb);
    write(cancel, "Cancel");
    go.hidden = false;
    go.classList.toggle("danger", Boolean(danger));
    const busy = async (work) => {
      go.disabled = true;
      byId("confirm-result").replaceChildren(element("p.muted", "Working…"));
      const shown = await work();
      byId("confirm-result").replaceChildren(...[shown].flat());
      go.disabled = false;
    };
    go.onclick = async () => {
      await busy(run);
      go.hidden = true;
      write(cancel, "Close");
      cancel.focus();
    };
    dialog.onclose = () => opener?.focus?.();
    dialog.showModal();
    if (look) busy(look);
    else go.disabled = false;
    cancel.focus();
  }
  cancel.addEventListener("click", () => dialog.close());

  // What came of an action: one line with an icon and words, then the facts.
  function outcome(answer, success, facts = []) {
    const line = element(answer.ok ? "p.outcome.good" : "p.outcome.bad", answer.ok ? `✓ ${success}` : `✕ ${reason(answer)}`);
    if (!answer.ok || !facts.length) return [line];
    return [line, table(facts)];
  }

  function table(facts) {
    const list = element("dl.facts");
    facts.forEach(([name, value]) => list.append(element("dt", name), element("dd", String(value))));
    return list;
  }

  // ---- what both consoles show ----

  function events(lines) {
    const icons = { INFO: "ℹ", WARN: "▲", ERROR: "✕" };
    each(byId("events"), lines, (line) => `${line.atMs} ${line.text}`, (line) => {
      const row = element("li", element("time", clock.format(line.atMs)), element("span.level", `${icons[line.level]} ${line.level.toLowerCase()}`), element("span", line.text));
      row.dataset.level = line.level;
      return row;
    });
  }

  function instance(snapshot) {
    write(byId("instance"), snapshot.instance);
    write(byId("viewers"), `${snapshot.viewers} watching`);
  }

  // Dead letters: looked at on demand, since looking costs the broker a connection.
  function deadLetters() {
    const list = byId("letters");
    const show = async () => {
      const answer = await call("GET", "/admin/dead-letters?limit=20");
      if (!answer.ok) return list.replaceChildren(...outcome(answer, ""));
      if (!answer.body.length) return list.replaceChildren(element("p.outcome.good", "✓ None."));
      list.replaceChildren(...answer.body.map((letter) => {
        const title = `${letter.messageId ?? "without an id"} · ${letter.reason ?? "no reason given"} · ${letter.bytes} bytes`;
        return element("details", element("summary", title), element("code", letter.body));
      }));
    };
    byId("letters-look").addEventListener("click", show);
    // Exactly as many as there are now: what comes back at once, since nobody can read it any better, is not taken again.
    const act = (verb, text, danger, done) => {
      let there = 0;
      confirm({
        title: `${verb} dead letters`, text, verb, danger,
        look: async () => {
          const answer = await call("GET", "/admin/dead-letters?limit=100");
          there = answer.ok ? answer.body.length : 0;
          return outcome(answer, there === 100 ? "The oldest 100." : `There are ${there}.`);
        },
        run: async () => {
          if (there === 0) return element("p.muted", "Nothing to do.");
          const answer = await call("POST", `/admin/dead-letters/${verb.toLowerCase()}?limit=${there}`);
          await show();
          return outcome(answer, `${answer.body?.count} ${done}`);
        },
      });
    };
    byId("letters-replay").addEventListener("click", () =>
      act("Replay", "Puts them back where they came from, oldest first, at most 100.", false, "put back"));
    byId("letters-discard").addEventListener("click", () =>
      act("Discard", "Drops them for good, oldest first, at most 100.", true, "dropped"));
  }

  return { byId, call, reason, follow, write, mark, element, each, count, rate, millis, span, clock, length, confirm, outcome, table, events, instance, deadLetters };
})();
