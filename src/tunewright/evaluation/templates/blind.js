"use strict";
(() => {
  // One script for both pages: a file with its questions inside, or the server's page.
  const page = document.getElementById("page");
  const texts = JSON.parse(document.getElementById("texts").textContent);
  const inside = document.getElementById("session");
  const offline = inside ? JSON.parse(inside.textContent) : null;
  const place = `tunewright-blind:${offline ? offline.session : location.pathname}`;
  const CHOICES = ["a", "b", "good", "bad"];
  const KEYS = { a: "a", b: "b", g: "good", x: "bad", 1: "a", 2: "b", 3: "good", 4: "bad" };
  const RETRY = 2500;

  let lasting = true;
  const memory = load();
  let language = memory.language || (document.documentElement.lang.startsWith("zh") ? "zh" : "en");
  let items = [];
  let votes = {};
  let drafts = {};
  let at = 0;
  let finished = false;
  let reference = false;
  let sending = false;
  let trail = [];

  function load() {
    const empty = { voter: "", language: "", votes: {}, waiting: [] };
    try {
      return { ...empty, ...JSON.parse(localStorage.getItem(place) || "{}") };
    } catch {
      lasting = false;
      return empty;
    }
  }
  function keep() {
    try {
      // Another tab may have voted meanwhile: of two votes on a question the newer one stays.
      const stored = JSON.parse(localStorage.getItem(place) || "{}").votes || {};
      for (const [slot, theirs] of Object.entries(stored)) {
        const own = memory.votes[slot] || (memory.votes[slot] = {});
        for (const [id, vote] of Object.entries(theirs)) {
          if (!(id in own) || own[id].cast < vote.cast) own[id] = vote;
        }
      }
      localStorage.setItem(place, JSON.stringify({ ...memory, language }));
    } catch {
      lasting = false;
    }
  }
  // The votes of one name; the mark keeps names apart from what every object has.
  function votesOf(voter) {
    return memory.votes[`@${voter}`] || (memory.votes[`@${voter}`] = {});
  }
  function t(key, values = {}) {
    return texts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }
  // Whatever comes from data is text, never markup.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  // Saving ------------------------------------------------------------------------------------

  function remember(item, choice) {
    const comment = (drafts[item.id] ?? (votes[item.id] || {}).comment ?? "").trim();
    const vote = { question: item.id, choice, comment };
    if (choice === null) delete votes[item.id];
    else votes[item.id] = vote;
    if (offline) {
      votesOf(memory.voter)[item.id] = { ...vote, cast: Date.now() / 1000 };
    } else {
      memory.waiting.push({ voter: memory.voter, ...vote });
    }
    keep();
    if (!offline) send();
  }
  async function send() {
    if (sending) return;
    sending = true;
    while (memory.waiting.length) {
      status();
      const body = JSON.stringify(memory.waiting[0]);
      let saved = false;
      try {
        const response = await fetch(`${location.pathname}/votes`, {
          method: "PUT", headers: { "Content-Type": "application/json" }, body,
        });
        saved = response.ok;
      } catch {
        saved = false;
      }
      if (saved) {
        memory.waiting.shift();
        keep();
      } else {
        status(true);
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
    sending = false;
    status();
  }
  function status(failed = false) {
    const line = document.getElementById("status");
    if (!line) return;
    const n = memory.waiting.length;
    line.className = failed ? "bad" : "";
    if (offline) line.textContent = lasting ? t("kept") : t("private");
    else line.textContent = failed ? t("unsaved", { n }) : t(n ? "saving" : "saved");
  }
  function download() {
    const ballot = {
      format: "tunewright-blind-votes", version: 1, session: offline.session,
      voter: memory.voter, votes: Object.values(votesOf(memory.voter)),
    };
    const blob = new Blob([`${JSON.stringify(ballot, null, 1)}\n`], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(blob) });
    link.download = `votes-${offline.session}-${memory.voter.replace(/[^\p{L}\p{N}-]+/gu, "_")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Moving ------------------------------------------------------------------------------------

  function vote(choice) {
    const again = items[at].id in votes;
    remember(items[at], choice);
    trail.push(at);
    const order = [...items.keys()].map((step) => (at + 1 + step) % items.length);
    const open = order.find((index) => !(items[index].id in votes));
    if (open === undefined) {
      finished = !again || at === items.length - 1;
      if (!finished) at += 1;
    } else {
      at = again && at + 1 < items.length ? at + 1 : open;
    }
    show();
  }
  function move(step) {
    if (finished && step < 0) finished = false;
    else if (at + step >= 0 && at + step < items.length) at += step;
    show();
  }
  function undo() {
    // The vote on this question, or else the one given last, wherever that was.
    const here = !finished && items[at].id in votes;
    if (!here && !trail.length) return;
    const last = trail.pop();
    if (!here) at = last;
    finished = false;
    remember(items[at], null);
    show();
  }

  // Showing -----------------------------------------------------------------------------------

  function show() {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = t("title");
    page.replaceChildren(top(), finished ? end() : question());
    status();
    window.scrollTo(0, 0);
  }
  function toggle() {
    const other = language === "zh" ? "English" : "中文";
    return make("button", { type: "button", class: "plain", onclick: () => {
      language = language === "zh" ? "en" : "zh";
      keep();
      (items.length ? show : welcome)();
    } }, other);
  }
  function top() {
    const done = Object.keys(votes).length;
    const bar = make("progress", { max: items.length, value: done, "aria-label": t("title") });
    return make("header", {},
      make("div", { class: "line" },
        make("b", {}, t("title")),
        make("span", { id: "status", role: "status" }),
        make("span", { class: "right" }, memory.voter, toggle())),
      make("div", { class: "line" }, bar,
        make("span", { class: "count" }, t("progress", { done, total: items.length }))));
  }
  function text(words, empty) {
    return words ? make("div", { class: "text" }, words)
      : make("div", { class: "text soft" }, empty);
  }
  function question() {
    const item = items[at];
    const turns = [...item.turns];
    const asked = turns.pop();
    const before = turns.length ? make("details", { open: true },
      make("summary", {}, t("before")),
      ...turns.map((turn) => make("p", { class: "turn" },
        make("b", {}, texts[language][`role.${turn.role}`] || turn.role), text(turn.text, "")))) : null;
    const parts = [
      make("section", { class: "card" }, make("h2", {}, `${t("question")} ${at + 1}`), before,
        text(asked.text, "")),
    ];
    if (item.reference !== null) {
      parts.push(make("button", { type: "button", class: "plain", onclick: peek },
        t(reference ? "reference.hide" : "reference.show")));
      if (reference) {
        parts.push(make("section", { class: "card reference" },
          make("h2", {}, t("reference")), text(item.reference, t("empty"))));
      }
    }
    const chosen = (votes[item.id] || {}).choice;
    parts.push(make("div", { class: "pair" },
      ...["a", "b"].map((side) => make("section",
        { class: chosen === side ? "card chosen" : "card", id: `answer-${side}` },
        make("h2", {}, t(`answer.${side}`)), text(item[side], t("empty"))))));
    parts.push(make("div", { class: "votes" }, ...CHOICES.map((choice) => make("button",
      { type: "button", id: `vote-${choice}`, "aria-pressed": String(chosen === choice),
        onclick: () => vote(choice) },
      make("kbd", {}, { a: "A", b: "B", good: "G", bad: "X" }[choice]), t(`vote.${choice}`)))));
    parts.push(comment(item), foot(item));
    return make("div", {}, ...parts);
  }
  function comment(item) {
    const area = make("textarea", { id: "comment", rows: 2, maxlength: 2000 });
    area.value = drafts[item.id] ?? (votes[item.id] || {}).comment ?? "";
    area.addEventListener("input", () => { drafts[item.id] = area.value; });
    area.addEventListener("change", () => {
      if (item.id in votes) remember(item, votes[item.id].choice);
    });
    return make("label", { class: "comment" },
      make("span", {}, `${t("comment")} (C) · ${t("comment.hint")}`), area);
  }
  function foot(item) {
    const button = (key, act, enabled) => make("button",
      { type: "button", class: "plain", disabled: !enabled, onclick: act }, t(key));
    return make("footer", {},
      button("back", () => move(-1), at > 0),
      button("next", () => move(1), at + 1 < items.length),
      button("undo", undo, item.id in votes || trail.length > 0),
      offline ? button("save", download, Object.keys(votes).length > 0) : null,
      make("p", { class: "soft" }, t("keys")));
  }
  function end() {
    return make("section", { class: "card end", id: "end" },
      make("h1", {}, t("done")),
      make("p", {}, t(offline ? "done.offline" : "done.online")),
      make("div", { class: "line" },
        offline ? make("button", { type: "button", class: "main", onclick: download }, t("save")) : null,
        make("button", { type: "button", onclick: () => { finished = false; at = 0; show(); } },
          t("review"))));
  }
  function peek() {
    reference = !reference;
    show();
  }
  function welcome(why = "") {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = t("title");
    const input = make("input", { id: "name", maxlength: 64, autocomplete: "name", required: true });
    input.value = memory.voter;
    const form = make("form", { onsubmit: (event) => { event.preventDefault(); begin(input.value); } },
      make("label", {}, make("span", {}, t("name")), input),
      make("p", { class: "soft" }, t("name.why")),
      make("button", { class: "main", id: "start" },
        memory.voter ? t("resume", { name: memory.voter }) : t("start")));
    input.addEventListener("input", () => { document.getElementById("start").textContent = t("start"); });
    page.replaceChildren(
      make("header", {}, make("div", { class: "line" }, make("b", {}, t("title")),
        make("span", { class: "right" }, toggle()))),
      make("section", { class: "card hello" }, make("h1", {}, t("hello")), make("p", {}, t("intro")),
        offline ? make("p", { class: "soft" }, t("count", { n: offline.questions.length })) : null,
        form, why ? make("p", { class: "bad", role: "alert" }, t("failed", { why })) : null));
    input.focus();
  }

  // Starting ----------------------------------------------------------------------------------

  async function begin(name) {
    const voter = name.normalize("NFKC").trim().replace(/\s+/g, " ");
    if (!voter) return;
    let session;
    try {
      session = offline ? known(voter) : await fetched(voter);
    } catch (error) {
      welcome(error.message);
      return;
    }
    memory.voter = voter;
    drafts = {};
    trail = [];
    ({ questions: items, votes } = session);
    // What this browser has not got through yet is newer than what the server knows.
    for (const { voter: who, question: id, ...rest } of memory.waiting) {
      if (who !== voter) continue;
      if (rest.choice === null) delete votes[id];
      else votes[id] = rest;
    }
    const open = items.findIndex((item) => !(item.id in votes));
    finished = open < 0;
    at = finished ? items.length - 1 : open;
    keep();
    show();
    if (!offline) send();
  }
  function known(voter) {
    const own = Object.entries(votesOf(voter));
    const now = own.filter(([, vote]) => vote.choice !== null);
    return { questions: offline.questions, votes: Object.fromEntries(now) };
  }
  async function fetched(voter) {
    const response = await fetch(`${location.pathname}/session?voter=${encodeURIComponent(voter)}`);
    const body = await response.json();
    if (!response.ok) throw new Error(body.error ? body.error.message : String(response.status));
    return body;
  }

  document.addEventListener("keydown", (event) => {
    if (!items.length || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.matches("textarea, input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const acts = {
      ArrowLeft: () => move(-1), Backspace: () => move(-1), ArrowRight: () => move(1), u: undo,
      r: () => { if (!finished && items[at].reference !== null) peek(); },
      c: () => { const area = document.getElementById("comment"); if (area) area.focus(); },
    };
    const act = key in KEYS ? () => { if (!finished) vote(KEYS[key]); } : acts[key];
    if (!act || event.repeat) return;
    event.preventDefault();
    act();
  });
  window.addEventListener("beforeunload", (event) => {
    const loose = offline ? !lasting && Object.keys(votes).length : memory.waiting.length;
    if (loose) event.preventDefault();
  });
  welcome();
})();
