// Keyboard, theme, and the state of index and verification. Every page works without it.
"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Logging in: the token comes in the fragment, which is sent to nobody, and leaves the address bar at once.
  const login = find("#login");
  if (login && location.hash.length > 1) {
    find("input", login).value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
    login.submit();
    return;
  }

  // Theme
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const themeButton = find("#theme");
  const showTheme = () => themeButton && themeButton.setAttribute("aria-pressed", String(isDark()));
  const turnTheme = () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("safegen-theme", next); } catch { /* storage is off */ }
    showTheme();
  };
  if (themeButton) themeButton.addEventListener("click", turnTheme);
  showTheme();

  // Plots: one stop for the Tab key each, arrows within.
  for (const plot of all(".plot svg")) {
    const links = all("a", plot);
    links.forEach((link, place) => link.setAttribute("tabindex", place ? "-1" : "0"));
    plot.addEventListener("keydown", (event) => {
      const place = links.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = step && links[place + step];
      if (!next) return;
      event.preventDefault();
      links[place].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }

  // Two versions to compare
  const chooser = find("#chooser");
  if (chooser) {
    const boxes = all("input[type=checkbox]", chooser);
    const button = find("button", chooser);
    const update = () => {
      const chosen = boxes.filter((box) => box.checked);
      boxes.forEach((box) => { box.disabled = chosen.length >= 2 && !box.checked; });
      button.disabled = chosen.length !== 2;
      const fields = all("input[type=hidden]", chooser);
      chosen.slice(0, 2).reverse().forEach((box, place) => { fields[place].value = box.value; });
    };
    boxes.forEach((box) => box.addEventListener("change", update));
    update();
  }

  // Images
  const blurAll = () => all(".picture input").forEach((box) => { box.checked = false; });

  // Keys
  const rows = all("[data-row]");
  const move = (step) => {
    if (!rows.length) return;
    const current = rows.findIndex((row) => row.contains(document.activeElement));
    const place = Math.min(rows.length - 1, Math.max(0, current < 0 ? (step > 0 ? 0 : rows.length - 1) : current + step));
    find("a", rows[place]).focus();
    rows[place].scrollIntoView({ block: "nearest" });
  };
  const follow = (selector) => { const link = find(selector); if (link) link.click(); };
  const pages = { t: "/", p: "/plots", o: "/policies", v: "/verify" };
  let going = false;
  const keys = {
    j: () => move(1), k: () => move(-1),
    n: () => follow("[rel=next]"), p: () => follow("[rel=prev]"),
    v: () => follow("#verify-this"), b: blurAll, d: turnTheme, u: () => follow("#up"),
    "/": () => { const box = find("#q"); if (box) { const shown = find("#show-filters"); if (shown) shown.checked = true; box.focus(); } },
    "?": () => { const dialog = find("#keys"); if (dialog) { if (dialog.open) dialog.close(); else dialog.showModal(); } },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && inField) { inField.blur(); return; }
    if (inField) return;
    if (going) {
      going = false;
      if (pages[event.key]) { event.preventDefault(); location.assign(pages[event.key]); }
      return;
    }
    if (event.key === "g") { going = true; setTimeout(() => { going = false; }, 1500); return; }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  const help = find("#show-keys");
  if (help) help.addEventListener("click", (event) => { event.preventDefault(); keys["?"](); });
  const closing = find("#keys button");
  if (closing) closing.addEventListener("click", () => find("#keys").close());

  // State
  const count = (number) => number.toLocaleString("en");
  const strip = find("#index-state");
  const known = Number(document.body.dataset.indexed || 0);
  const showIndex = (state) => {
    if (!strip) return;
    strip.hidden = true;
    if (state.problem) strip.textContent = `The index could not go on: ${state.problem}`;
    else if (state.indexed < state.size) strip.textContent = `Indexing: ${count(state.indexed)} of ${count(state.size)} records. What is newer is not shown yet.`;
    else if (document.body.dataset.live === "yes" && state.indexed > known) strip.textContent = `${count(state.indexed - known)} new records. Reload to see them.`;
    else return;
    strip.hidden = false;
  };
  const bar = find("#verification");
  const showVerification = (job) => {
    if (!bar) return false;
    if (job.phase !== "running") { location.reload(); return true; }
    bar.max = Math.max(job.size, 1);
    bar.value = job.checked;
    const text = find("#verification-text");
    if (text) text.textContent = `${count(job.checked)} of ${count(job.size)} entries`;
    return false;
  };
  const ask = async () => {
    try {
      const answer = await fetch("/api/state", { credentials: "same-origin" });
      if (answer.status === 401) { location.assign("/login"); return; }
      const state = await answer.json();
      showIndex(state);
      if (showVerification(state.verification)) return;
    } catch {
      if (strip) { strip.textContent = "The console does not answer. Was it stopped?"; strip.hidden = false; }
    }
    setTimeout(ask, bar ? 500 : 4000);
  };
  if (strip) setTimeout(ask, 300);
})();
