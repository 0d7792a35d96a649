// The console of product-service: writes each snapshot into the page, and acts when asked twice.
"use strict";

(() => {
  const { byId, call, write, mark, element, each, count, rate, millis, span, length, confirm, outcome } = hotstock;
  const rates = hotstock.chart("rates", [{ label: "sold" }, { label: "answered" }, { label: "sold out", dash: [6, 4] }], rate, 10);
  const times = hotstock.chart("times", [{ label: "decision in Postgres" }, { label: "gate in Redis" }],
    (s) => (s === 0 ? "0" : millis(s)), 0.01);

  function show(now) {
    hotstock.instance(now);
    hotstock.events(now.events);
    byId("database-lost").hidden = now.databaseAnswers;
    const answered = now.answers && Object.values(now.answers).reduce((sum, each) => sum + each, 0);
    write(byId("sold"), rate(now.soldPerS));
    write(byId("answered"), rate(answered));
    write(byId("p99"), millis(now.decideP99S));
    rates(now.atMs, [now.soldPerS, answered, now.answers?.soldOut]);
    times(now.atMs, [now.decideP99S, now.gateP99S]);
    if (now.answers) mix(now.answers, answered);
    breaker(now.breaker);
    drift(now);
    products(now);
  }

  function mix(answers, total) {
    for (const [word, perS] of Object.entries(answers)) {
      write(byId(`mix-${word}`), rate(perS));
      length(byId(`mix-${word}-bar`), total > 0 ? perS / total : 0);
    }
  }

  const breakerLooks = {
    closed: ["good", "closed", "Redis is called"],
    open: ["bad", "open", "the database decides all"],
    half_open: ["warn", "half-open", "finding out"],
  };

  function breaker(now) {
    const [state, word, about] = breakerLooks[now.state];
    const pill = byId("breaker");
    mark(pill, "state", state);
    write(pill, word);
    write(byId("breaker-about"), now.forced ? "held open by an operator" : about);
    write(byId("breaker-state"), now.forced ? `${word}, held` : word);
    write(byId("breaker-since"), span(now.sinceMs));
    write(byId("breaker-probe"), now.nextProbeMs === null ? "none due" : `in ${span(now.nextProbeMs)}`);
    write(byId("breaker-changes"), count(now.transitions));
  }

  function drift(now) {
    const gates = now.products.map((product) => product.gate).filter(Boolean);
    const drifted = gates.filter((gate) => gate.drift !== 0).length;
    const units = gates.reduce((sum, gate) => sum + Math.abs(gate.drift ?? 0), 0);
    write(byId("drift"), gates.length ? `${count(units)}` : "–");
    mark(byId("drift"), "alarm", drifted ? "yes" : "no");
    write(byId("drift-about"), gates.length ? (drifted ? `▲ ${drifted} of ${gates.length} gates` : `✓ ${gates.length} gates agree`) : "no gate to be seen");
  }

  // ---- products ----

  function products(now) {
    const hidden = now.hotProducts - now.products.filter((product) => product.hot).length;
    write(byId("products-note"), hidden > 0 ? `the newest; ${count(hidden)} more hot ones` : "");
    byId("products-none").hidden = now.products.length > 0;
    each(byId("products"), now.products, (product) => product.id, card, (shown, product) => fill(shown, product, now));
  }

  function card(product) {
    const part = (what, name) => {
      const made = element(what);
      made.dataset.part = name;
      return made;
    };
    const fact = (label, name) => element("div", element("dt", label), part("dd", name));
    const bar = element("span.track", part("i", "bar"));
    bar.setAttribute("aria-hidden", "true");
    const toggle = part("button", "toggle");
    toggle.type = "button";
    const made = element("article.product",
      element("header", element("h3", product.name, " ", element("span", `#${product.id}`)), part("span.pill", "state")),
      element("dl.stocks", fact("In the database", "stock"), fact("In Redis", "counter")),
      element("div.sold", bar, element("p", part("span", "sold"), part("b", "share"))),
      element("dl.facts", fact("Sold / s", "rate"), fact("Held", "held"), fact("Drift", "drift")),
      element("div.buttons", toggle));
    made.setAttribute("aria-label", `${product.name}, product ${product.id}`);
    return made;
  }

  function phase(product, at) {
    if (product.discontinued) return ["plain", "discontinued"];
    if (product.saleStartsAtMs > at) return ["plain", `opens in ${span(product.saleStartsAtMs - at)}`];
    if (product.saleEndsAtMs !== null && product.saleEndsAtMs <= at) return ["plain", "sale over"];
    if (product.stock === 0) return ["bad", "sold out"];
    return product.hot ? ["good", "hot, on sale"] : ["plain", "on sale, not hot"];
  }

  function fill(shown, product, now) {
    const part = (name) => shown.querySelector(`[data-part="${name}"]`);
    const [state, word] = phase(product, now.atMs);
    const share = product.supplied > 0 ? product.sold / product.supplied : 0;
    const { gate } = product;
    mark(part("state"), "state", state);
    write(part("state"), word);
    write(part("stock"), count(product.stock));
    const leftAlone = now.breaker.state === "open" ? "left alone" : "not loaded";
    write(part("counter"), gate ? count(gate.counter) : product.hot ? leftAlone : "–");
    length(part("bar"), share);
    write(part("sold"), `${count(product.sold)} of ${count(product.supplied)} sold`);
    write(part("share"), `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`);
    write(part("rate"), rate(product.soldPerS));
    write(part("held"), gate ? count(gate.heldUnits) : "–");
    write(part("drift"), gate ? (gate.drift === 0 ? "✓ 0" : gate.drift === null ? "▲ ahead" : `▲ ${count(gate.drift)}`) : "–");
    mark(part("drift"), "alarm", gate && gate.drift !== 0 ? "yes" : "no");
    const toggle = part("toggle");
    write(toggle, product.hot ? "Unload…" : "Load…");
    toggle.onclick = () => (product.hot ? unload(product) : load(product.id, product.name));
  }

  // ---- actions ----

  const standing = (body) => body && [
    ["Strategy", body.stockStrategy], ["In the database", count(body.databaseStock)],
    ["In Redis", body.gate ? count(body.gate.counter) : "not loaded"], ["Drift", body.gate?.drift ?? "–"],
  ];

  function load(id, name) {
    confirm({
      title: `Load product ${id}`, verb: "Load",
      text: `${name ? `“${name}” becomes` : "It becomes"} hot: its decreases ask the gate in Redis first. Loads the gate from the database.`,
      run: async () => {
        const answer = await call("POST", `/admin/products/${id}/load-stock-redis`);
        return outcome(answer, "Hot.", standing(answer.body) ?? []);
      },
    });
  }

  function unload(product) {
    confirm({
      title: `Unload product ${product.id}`, verb: "Unload", danger: true,
      text: `“${product.name}” goes back to the database alone; its keys are removed from Redis. Selling goes on, more slowly.`,
      run: async () => {
        const answer = await call("POST", `/admin/products/${product.id}/unload-stock-redis`);
        return outcome(answer, "Not hot any more.", standing(answer.body) ?? []);
      },
    });
  }

  const finds = (body) => Object.entries(body?.finds ?? {});

  byId("load").addEventListener("click", () => {
    const id = byId("load-id").value.trim();
    if (/^\d{1,18}$/.test(id)) load(id);
    else byId("load-id").focus();
  });
  byId("load-id").addEventListener("keydown", (event) => event.key === "Enter" && byId("load").click());

  byId("reconcile").addEventListener("click", () => confirm({
    title: "Reconcile all hot products", verb: "Apply",
    text: "First a dry run: what would be found. Apply puts it right from the ledger.",
    look: async () => {
      const answer = await call("POST", "/admin/stock/reconcile?dryRun=true");
      if (!answer.ok) return outcome(answer, "");
      const found = finds(answer.body);
      return outcome(answer, `Dry run over ${count(answer.body.products)} products: ${found.length ? "found" : "nothing found"}.`, found);
    },
    run: async () => {
      const answer = await call("POST", "/admin/stock/reconcile");
      const found = finds(answer.body);
      return outcome(answer, `Applied to ${count(answer.body?.products)} products: ${found.length ? "put right" : "nothing to put right"}.`, found);
    },
  }));

  byId("breaker-force").addEventListener("click", () => confirm({
    title: "Force the breaker open", verb: "Force open", danger: true,
    text: "This instance leaves Redis alone until somebody resets it: the database decides everything, nothing is probed.",
    run: async () => outcome(await call("POST", "/admin/breaker/force-open"), "Open, and held open."),
  }));
  byId("breaker-reset").addEventListener("click", () => confirm({
    title: "Reset the breaker", verb: "Reset",
    text: "Closes it and forgets its failures: this instance calls Redis again at once.",
    run: async () => outcome(await call("POST", "/admin/breaker/reset"), "Closed."),
  }));
  hotstock.deadLetters();

  hotstock.follow(document.body.dataset.events, show);
})();
