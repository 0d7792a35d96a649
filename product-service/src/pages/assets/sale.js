// The page of a sale: counts down, shows what is left, and buys. Every click of one purchase carries the same key, so
// whatever is clicked twice, or sent again after no answer, is bought once.
"use strict";

(() => {
  const { byId, call, write, mark, element, count, span, length, reason } = hotstock;
  const [buy, again, clicks] = [byId("buy"), byId("again"), byId("clicks")];
  const uuid = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  // Who buys: this browser.
  const buyer = (() => {
    const known = localStorage.getItem("hotstock.buyer");
    if (known) return known;
    const made = `web-${uuid()}`;
    localStorage.setItem("hotstock.buyer", made);
    return made;
  })();

  // ---- the sale ----

  let sale = null;
  let ahead = 0; // how far the server's clock is ahead of ours, ms

  function phase(at) {
    if (sale.discontinued) return ["plain", "no longer sold", ""];
    if (sale.saleStartsAtMs > at) return ["warn", "opens soon", "opens in", sale.saleStartsAtMs - at];
    if (sale.saleEndsAtMs !== null && sale.saleEndsAtMs <= at) return ["plain", "sale is over", ""];
    if (sale.stock === 0) return ["bad", "sold out", ""];
    return sale.saleEndsAtMs === null ? ["good", "on sale", ""] : ["good", "on sale", "ends in", sale.saleEndsAtMs - at];
  }

  function tick() {
    if (!sale) return;
    const [state, word, label, left] = phase(Date.now() + ahead);
    mark(byId("phase"), "state", state);
    write(byId("phase"), word);
    write(byId("countdown-label"), label);
    write(byId("countdown"), label ? span(left) : "");
    buy.disabled = state !== "good" || done;
    if (!busy && !done) write(buy, state === "bad" ? "Sold out" : state === "good" ? "Buy one" : "Not on sale");
  }

  function show(now) {
    sale = now;
    ahead = now.atMs - Date.now();
    length(byId("left-bar"), now.supplied > 0 ? now.stock / now.supplied : 0);
    write(byId("left"), `${count(now.stock)} of ${count(now.supplied)} left`);
    tick();
  }

  // ---- buying ----

  let key = uuid();
  let busy = 0;
  let clicked = 0;
  let done = false;

  function result(answer) {
    if (answer.ok && answer.body.status === "CONFIRMED") {
      const order = `order #${answer.body.id}`;
      return answer.replayed
        ? ["good", `✓ ${order} again`, "The same purchase as your first click: nothing was bought twice."]
        : ["good", `✓ Yours: ${order}`, ""];
    }
    if (answer.ok) return ["bad", `✕ Not bought`, answer.body.failReason === "INSUFFICIENT_STOCK" ? "It was sold out." : `Order #${answer.body.id}: ${answer.body.failReason ?? answer.body.status}`];
    if (answer.body?.error === "INSUFFICIENT_STOCK") return ["bad", "✕ Sold out", "Somebody was quicker."];
    if (answer.body?.error === "PURCHASE_LIMIT_EXCEEDED") return ["bad", "✕ Your limit is reached", ""];
    if (answer.body?.error === "SALE_NOT_OPEN") return ["bad", "✕ Not on sale", ""];
    if (answer.status === 0 || answer.status >= 424) return ["bad", "✕ No answer yet", "Click again: it is the same purchase and is bought once."];
    return ["bad", "✕ Not bought", reason(answer)];
  }

  async function click() {
    clicked += 1;
    busy += 1;
    const row = element("li", element("span", `Click ${clicked}`), element("b", "asking…"), element("span.ms"));
    clicks.append(row);
    write(buy, "Buying…");
    const answer = await call("POST", byId("sale").dataset.orders, {
      headers: { "Idempotency-Key": key },
      body: { quantity: 1, buyerId: buyer },
    });
    busy -= 1;
    const [kind, text, why] = result(answer);
    row.dataset.kind = kind;
    write(row.children[1], text);
    write(row.children[2], `${Math.round(answer.ms)} ms`);
    if (why) row.append(element("span.why", why));
    // A final answer ends the purchase once all its clicks are answered; no answer leaves the key for another try.
    const final = answer.ok || (answer.status >= 400 && answer.status < 424);
    if (final && !busy) {
      done = true;
      write(buy, kind === "good" ? "Bought" : "Not bought");
      again.hidden = false;
    }
    tick();
  }

  buy.addEventListener("click", click);
  again.addEventListener("click", () => {
    key = uuid();
    clicked = 0;
    done = false;
    again.hidden = true;
    clicks.replaceChildren();
    tick();
    buy.focus();
  });
  setInterval(tick, 100);
  hotstock.follow(document.body.dataset.events, show);
})();
