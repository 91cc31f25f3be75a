"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const root = document.documentElement;
  const views = all("section.view");
  const current = () => views.find((view) => !view.hidden);

  // ------------------------------------------------------------------ light and dark
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

  // ------------------------------------------------------------------ zoom and pan
  const READABLE = 1.0; // pixels for a unit of the drawing: at this scale names can be read
  const boxes = new Map();
  const show = (svg, box) => { boxes.set(svg, box); svg.setAttribute("viewBox", box.map((n) => n.toFixed(1)).join(" ")); };
  const whole = (svg) => svg.dataset.box.split(" ").map(Number);
  const fit = (svg) => show(svg, whole(svg));
  const scale = (svg, box) => Math.min(svg.clientWidth / box[2], svg.clientHeight / box[3]);
  const zoom = (svg, factor, at) => {
    const [x, y, w, h] = boxes.get(svg);
    const [px, py] = at || [x + w / 2, y + h / 2];
    const next = [px - (px - x) * factor, py - (py - y) * factor, w * factor, h * factor];
    if (next[2] > 60 && next[2] < whole(svg)[2] * 8) show(svg, next);
  };
  const pan = (svg, dx, dy) => {
    const [x, y, w, h] = boxes.get(svg);
    show(svg, [x + dx, y + dy, w, h]);
  };
  // A large drawing opens at its top, large enough to be read; a small one whole.
  const open = (svg) => {
    const box = whole(svg);
    if (!svg.clientWidth || scale(svg, box) >= 0.6) return fit(svg);
    const w = svg.clientWidth / READABLE, h = svg.clientHeight / READABLE;
    const start = svg.querySelector(".start");
    const x = start ? Number(start.getAttribute("cx")) - w / 2 : box[0];
    return show(svg, [x, box[1], w, h]);
  };
  const bring = (svg, elements) => {
    const rects = elements.map((element) => element.getBBox());
    if (!rects.length) return;
    const left = Math.min(...rects.map((r) => r.x)), top = Math.min(...rects.map((r) => r.y));
    const right = Math.max(...rects.map((r) => r.x + r.width)), bottom = Math.max(...rects.map((r) => r.y + r.height));
    const [x, y, w, h] = boxes.get(svg);
    const seen = left >= x && top >= y && right <= x + w && bottom <= y + h;
    if (seen && scale(svg, [x, y, w, h]) > 0.5) return;
    const nw = Math.max(svg.clientWidth / READABLE, right - left + 120), nh = Math.max(svg.clientHeight / READABLE, bottom - top + 120);
    show(svg, [(left + right) / 2 - nw / 2, (top + bottom) / 2 - nh / 2, nw, nh]);
  };
  const point = (svg, event) => {
    const [x, y] = [event.clientX, event.clientY];
    const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
    return [p.x, p.y];
  };
  for (const canvas of all(".canvas")) {
    const svg = canvas.querySelector("svg");
    fit(svg);
    let from = null;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(svg, event.deltaY > 0 ? 1.15 : 1 / 1.15, point(svg, event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { from = point(svg, event); });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) return;
      const [x, y] = point(svg, event);
      pan(svg, from[0] - x, from[1] - y);
    });
    canvas.addEventListener("pointerup", () => { from = null; });
    canvas.addEventListener("keydown", (event) => {
      const [, , w, h] = boxes.get(svg);
      const moves = { ArrowLeft: [-w / 8, 0], ArrowRight: [w / 8, 0], ArrowUp: [0, -h / 8], ArrowDown: [0, h / 8] };
      if (moves[event.key]) pan(svg, ...moves[event.key]);
      else if (event.key === "+" || event.key === "=") zoom(svg, 1 / 1.3);
      else if (event.key === "-") zoom(svg, 1.3);
      else if (event.key === "0") fit(svg);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const bar = canvas.closest(".side").querySelector(".bar");
    bar.querySelector(".in").addEventListener("click", () => zoom(svg, 1 / 1.3));
    bar.querySelector(".out").addEventListener("click", () => zoom(svg, 1.3));
    bar.querySelector(".fit").addEventListener("click", () => fit(svg));
    svg.addEventListener("click", (event) => {
      const state = event.target.closest(".state");
      const view = svg.closest(".view");
      const chosen = state && !state.classList.contains("mates") ? state.dataset.class : undefined;
      for (const other of all(".state", view)) {
        other.classList.toggle("mates", chosen !== undefined && other.dataset.class === chosen);
      }
    });
  }

  // ------------------------------------------------------------------ the explanation, step by step
  for (const view of views) {
    const steps = JSON.parse(view.querySelector("script.data").textContent);
    const items = all(".steps li", view);
    const [back, next] = all(".steps .turn", view);
    let at = -1;
    const sides = Object.fromEntries(all(".side", view).map((side) => [side.dataset.side, side]));
    const go = (to) => {
      if (!steps.length || to < 0 || to >= steps.length) return;
      at = to;
      for (const lit of all(".lit", view)) lit.classList.remove("lit");
      const step = steps[at], wanted = new Set(step.light.map(String));
      for (const edge of all(".edge[data-numbers]", view)) {
        if (edge.dataset.numbers.split(" ").some((number) => wanted.has(number))) edge.classList.add("lit");
      }
      for (const label of all("text.action", view)) {
        if (wanted.has(label.dataset.number)) label.classList.add("lit");
      }
      for (const [side, name] of step.states) {
        const state = sides[side] && all(".state", sides[side]).find((one) => one.dataset.state === name);
        if (state) state.classList.add("lit");
      }
      for (const side of Object.values(sides)) bring(side.querySelector("svg"), all(".lit", side));
      items.forEach((item, number) => {
        if (number === at) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
        if (number === at) item.parentNode.scrollTop = item.offsetTop - item.parentNode.offsetTop - 24;
      });
      back.disabled = at === 0;
      next.disabled = at === steps.length - 1;
      document.getElementById("said").textContent = `Step ${at + 1} of ${steps.length}: ${step.text}`;
    };
    view.turn = (by) => go(at + by);
    if (steps.length) {
      back.addEventListener("click", () => view.turn(-1));
      next.addEventListener("click", () => view.turn(1));
      items.forEach((item, number) => item.querySelector("button").addEventListener("click", () => go(number)));
    }
  }

  // ------------------------------------------------------------------ search
  const search = document.getElementById("search"), found = document.getElementById("found");
  let hits = [], hit = -1;
  const seek = () => {
    for (const old of all(".hit")) old.classList.remove("hit");
    const text = search.value.trim().toLowerCase();
    hits = [];
    hit = -1;
    if (text) {
      hits = all(".state, text.action", current()).filter((element) => {
        const name = element.dataset.state ?? element.querySelector("title").textContent;
        return name.toLowerCase().includes(text);
      });
      for (const element of hits) element.classList.add("hit");
    }
    found.textContent = text ? `${hits.length} found` : "";
  };
  const advance = (by) => {
    if (!hits.length) return;
    hit = (hit + by + hits.length) % hits.length;
    bring(hits[hit].ownerSVGElement, [hits[hit]]);
    found.textContent = `${hit + 1} of ${hits.length}`;
  };
  search.addEventListener("input", seek);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") advance(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { search.value = ""; seek(); search.blur(); }
  });

  // ------------------------------------------------------------------ which model, and keys
  const choice = document.getElementById("model");
  const choose = (number) => {
    views.forEach((view, at) => { view.hidden = at !== number; });
    for (const svg of all(".canvas svg", current())) open(svg);
    seek();
  };
  if (choice) choice.addEventListener("change", () => choose(Number(choice.value)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    if (event.key === "/") search.focus();
    else if (event.key === "n" || event.key === "ArrowRight") current().turn(1);
    else if (event.key === "p" || event.key === "ArrowLeft") current().turn(-1);
    else if (event.key === "t") theme.click();
    else return;
    event.preventDefault();
  });
  choose(0);
})();
