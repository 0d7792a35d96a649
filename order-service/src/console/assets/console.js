// The console of order-service: writes each snapshot into the page, and acts when asked twice.
"use strict";

(() => {
  const { byId, call, write, mark, element, each, count, rate, millis, span, confirm, outcome } = hotstock;
  const rates = hotstock.chart("rates", [{ label: "ordered" }, { label: "confirmed" }, { label: "failed", dash: [6, 4] }], rate, 10);
  const backlog = hotstock.chart("backlog", [{ label: "orders pending" }, { label: "messages to publish" }], count, 10);

  function show(now) {
    hotstock.instance(now);
    hotstock.events(now.events);
    byId("database-lost").hidden = now.databaseAnswers;
    const confirmed = now.concluded.taken ?? 0;
    const failed = (now.concluded.failed ?? 0) + now.turnedAwayPerS;
    write(byId("orders-per-s"), rate(now.ordersPerS));
    write(byId("confirmed"), rate(confirmed));
    write(byId("confirmed-about"), now.writeP99S === null ? "this instance" : `written in ${millis(now.writeP99S)}, p99`);
    write(byId("pending"), count(now.pending));
    write(byId("pending-about"), now.pending > 0 ? `oldest ${span(now.pendingOldestS * 1000)}` : "✓ none waits");
    rates(now.atMs, [now.ordersPerS, confirmed, failed]);
    outbox(now);
    broker(now.brokerAnswers);
    byId("feed-none").hidden = now.orders.length > 0;
    each(byId("feed"), now.orders, (order) => order.id, row, (shown, order) => fill(shown, order, now.atMs));
    each(byId("messages"), now.messages, (message) => `${message.id} ${message.status}`, letter);
  }

  function broker(answers) {
    mark(byId("broker"), "state", answers ? "good" : "bad");
    write(byId("broker"), answers ? "connected" : "away");
    write(byId("broker-about"), answers ? "RabbitMQ, this instance" : "orders of v2 wait in the outbox");
  }

  function outbox({ atMs, outbox, outboxOldestS, pending }) {
    const { pending: waiting = 0, failed = 0, dead = 0 } = outbox;
    const aged = (status, n) => (n > 0 ? `${count(n)}, oldest ${span(outboxOldestS[status] * 1000)}` : "0");
    write(byId("waiting"), count(waiting + failed));
    write(byId("waiting-about"), dead > 0 ? `▲ ${count(dead)} dead` : "✓ none dead");
    mark(byId("waiting-about"), "alarm", dead > 0 ? "yes" : "no");
    write(byId("outbox-pending"), aged("pending", waiting));
    write(byId("outbox-failed"), aged("failed", failed));
    write(byId("outbox-dead"), aged("dead", dead));
    backlog(atMs, [pending, waiting + failed]);
  }

  // ---- the feed ----

  const looks = { PENDING: ["warn", "pending"], CONFIRMED: ["good", "confirmed"], CANCELLED: ["plain", "cancelled"], FAILED: ["bad", "failed"] };

  function row(order) {
    const cell = (text, kind = "") => element(`td${kind}`, text);
    const action = element("td");
    return element("tr",
      cell(`#${order.id}`, ".number"), element("td", element("span.pill"), " ", element("span.small.muted")), cell(`#${order.productId}`, ".number"),
      cell(count(order.quantity), ".number"), cell(order.buyerId ?? "–"), cell(order.flow === "SYNC" ? "v1" : "v2"), cell("", ".number"), action);
  }

  function fill(shown, order, atMs) {
    const [state, word] = looks[order.status];
    const [pill, why] = shown.children[1].children;
    mark(pill, "state", state);
    write(pill, word);
    write(why, (order.failReason ?? "").toLowerCase().replaceAll("_", " "));
    write(shown.children[6], span(Math.max(0, atMs - Date.parse(order.createdAt))));
    const action = shown.children[7];
    if (order.status === "FAILED" && !action.firstChild) {
      const button = element("button", "Retry…");
      button.type = "button";
      button.setAttribute("aria-label", `Retry order ${order.id}`);
      button.addEventListener("click", () => retry(order.id));
      action.append(button);
    }
    if (order.status !== "FAILED") action.replaceChildren();
  }

  function letter(message) {
    const button = element("button", "Requeue…");
    button.type = "button";
    button.setAttribute("aria-label", `Requeue message ${message.id}`);
    button.addEventListener("click", () => requeue(message));
    const word = message.status === "DEAD" ? "✕ dead" : "▲ failed";
    return element("li", element("span", `${word} · message ${message.id} of order #${message.orderId} · ${message.attempts} tries`),
      element("span.muted", message.lastError ?? ""), button);
  }

  // ---- actions ----

  const orderFacts = (order) => order && [["Order", `#${order.id}`], ["Status", order.status.toLowerCase()], ["Product", `#${order.productId}`], ["Units", count(order.quantity)]];

  function retry(id) {
    confirm({
      title: `Retry order ${id}`, verb: "Retry",
      text: "A failed order goes again: it is pending, under a fresh key, and takes stock if there is any.",
      run: async () => {
        const answer = await call("POST", `/admin/orders/${id}/retry`);
        return outcome(answer, "Sent again.", answer.ok ? orderFacts(answer.body) : []);
      },
    });
  }

  function requeue(message) {
    confirm({
      title: `Requeue message ${message.id}`, verb: "Requeue",
      text: `It is published again, its tries start anew. If order ${message.orderId} failed because of it, the order is pending again.`,
      run: async () => {
        const answer = await call("POST", `/admin/outbox/${message.id}/requeue`);
        return outcome(answer, "Queued again.", answer.ok ? [["Message", answer.body.id], ["Status", answer.body.status.toLowerCase()]] : []);
      },
    });
  }

  byId("retry").addEventListener("click", () => {
    const id = byId("retry-id").value.trim();
    if (/^\d{1,18}$/.test(id)) retry(id);
    else byId("retry-id").focus();
  });
  byId("retry-id").addEventListener("keydown", (event) => event.key === "Enter" && byId("retry").click());

  byId("stuck-look").addEventListener("click", async () => {
    const answer = await call("GET", "/admin/orders/stuck");
    if (!answer.ok || !answer.body.length) return byId("stuck").replaceChildren(element("li", ...outcome(answer, "None.")));
    byId("stuck").replaceChildren(...answer.body.map((stuck) => element("li",
      element("span", `▲ order #${stuck.order.id} · ${stuck.step.toLowerCase()} · ${stuck.tries} tries`),
      element("span.muted", stuck.lastError ?? "no error known"))));
  });
  hotstock.deadLetters();

  hotstock.follow(document.body.dataset.events, show);
})();
