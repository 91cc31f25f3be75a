"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const root = document.documentElement;
  let views = [];
  const current = () => views.find((view) => !view.hidden);

  // ------------------------------------------------------------------ light and dark
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

  // ------------------------------------------------------------------ zoom and pan
  const READABLE = 1.0; // pixels for a unit of the drawing: at this scale names can be read well
  const LEGIBLE = 0.7; // a whole drawing at this scale or a larger one is shown whole
  const LARGEST = 1.25; // and a small one not larger than that
  const boxes = new Map();
  const drawing = (canvas) => canvas.querySelector("svg:not([hidden])");
  const show = (svg, box) => { boxes.set(svg, box); svg.setAttribute("viewBox", box.map((n) => n.toFixed(1)).join(" ")); };
  const whole = (svg) => svg.dataset.box.split(" ").map(Number);
  const scale = (svg, box) => Math.min(svg.clientWidth / box[2], svg.clientHeight / box[3]);
  const fit = (svg) => {
    const box = whole(svg), more = scale(svg, box) / LARGEST;
    if (!svg.clientWidth || more <= 1) return show(svg, box);
    const [x, y, w, h] = box;
    return show(svg, [x - (w * more - w) / 2, y - (h * more - h) / 2, w * more, h * more]);
  };
  const legible = (svg) => !svg.clientWidth || scale(svg, whole(svg)) >= LEGIBLE;
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
  // A drawing opens whole; one that is too large for that at its top, large enough to be read.
  const open = (svg) => {
    if (legible(svg)) return fit(svg);
    const box = whole(svg);
    const w = svg.clientWidth / READABLE, h = svg.clientHeight / READABLE;
    const start = svg.querySelector(".start");
    const x = start ? Number(start.getAttribute("cx")) - w / 2 : box[0];
    return show(svg, [x, box[1], w, h]);
  };
  const around = (svg, elements) => {
    const rects = elements.map((element) => element.getBBox());
    const left = Math.min(...rects.map((r) => r.x)), top = Math.min(...rects.map((r) => r.y));
    const right = Math.max(...rects.map((r) => r.x + r.width)), bottom = Math.max(...rects.map((r) => r.y + r.height));
    const [x, y, w, h] = boxes.get(svg);
    const seen = left >= x && top >= y && right <= x + w && bottom <= y + h && scale(svg, [x, y, w, h]) >= LEGIBLE;
    const nw = Math.max(svg.clientWidth / READABLE, right - left + 60), nh = Math.max(svg.clientHeight / READABLE, bottom - top + 60);
    return { seen, box: [(left + right) / 2 - nw / 2, (top + bottom) / 2 - nh / 2, nw, nh] };
  };
  // Shows elements in a size that can be read: all of them, or else the states and what deviates, or else one state.
  const bring = (svg, elements) => {
    const states = elements.filter((element) => element.matches(".state"));
    const main = elements.filter((element) => element.matches(".state, .action.extra"));
    for (const some of [elements, main, states, states.slice(0, 1), elements.slice(0, 1)]) {
      if (!some.length) continue;
      const { seen, box } = around(svg, some);
      if (seen) return;
      if (scale(svg, box) >= LEGIBLE || some.length === 1) return show(svg, box);
    }
  };
  const point = (svg, event) => {
    const [x, y] = [event.clientX, event.clientY];
    const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
    return [p.x, p.y];
  };
  const say = (text) => { document.getElementById("said").textContent = text; };

  // ------------------------------------------------------------------ a state and its own steps
  const focus = (svg, state) => {
    const view = svg.closest(".view");
    for (const old of all(".mates, .chosen, .own, .near", view)) old.classList.remove("mates", "chosen", "own", "near");
    for (const old of all("svg.focused", view)) old.classList.remove("focused");
    if (!state) return;
    const { state: name, class: mates } = state.dataset, ends = new Set(), told = [];
    svg.classList.add("focused");
    state.classList.add("chosen");
    for (const other of all(".state", view)) {
      if (mates !== undefined && other.dataset.class === mates && other !== state) other.classList.add("mates");
    }
    for (const edge of all(".edge[data-target]", svg)) {
      const { source, target } = edge.dataset;
      if (source !== name && target !== name) continue;
      edge.classList.add("own");
      for (const end of [source, target]) if (end !== undefined) ends.add(end);
      for (const title of all("text.action title", edge)) told.push(title.textContent);
    }
    for (const other of all(".state", svg)) if (ends.has(other.dataset.state)) other.classList.add("near");
    say(`${name}: ${told.length} steps. ${told.join("; ")}`);
  };
  const walk = (svg, by) => {
    const states = all(".state", svg);
    const at = states.findIndex((state) => state.classList.contains("chosen"));
    const next = states[at < 0 ? (by > 0 ? 0 : states.length - 1) : (at + by + states.length) % states.length];
    focus(svg, next);
    bring(svg, [next]);
  };

  // ------------------------------------------------------------------ the most frequent share
  const choose_share = (side, number) => {
    const slider = side.querySelector(".share");
    if (!slider) return;
    const drawings = all(".canvas svg", side);
    drawings.forEach((svg, at) => svg.toggleAttribute("hidden", at !== number));
    const svg = drawings[number], text = `${svg.dataset.share} %: ${svg.dataset.kept}`;
    slider.value = number;
    slider.setAttribute("aria-valuetext", text);
    side.querySelector(".kept").textContent = text;
    focus(svg, null);
    if (boxes.has(svg)) open(svg);
  };
  const largest = (side) => {
    const drawings = all(".canvas svg", side);
    if (drawings.length < 2) return;
    for (let at = drawings.length - 1; at >= 0; at -= 1) {
      choose_share(side, at);
      if (legible(drawings[at])) return;
    }
  };

  const prepare_drawings = (view) => { for (const canvas of all(".canvas", view)) {
    const side = canvas.closest(".side");
    all("svg", canvas).forEach(fit);
    let from = null, moved = false;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const svg = drawing(canvas);
      zoom(svg, event.deltaY > 0 ? 1.15 : 1 / 1.15, point(svg, event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { from = point(drawing(canvas), event); moved = false; });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) return;
      const [x, y] = point(drawing(canvas), event);
      moved = moved || Math.hypot(from[0] - x, from[1] - y) > 3;
      pan(drawing(canvas), from[0] - x, from[1] - y);
    });
    canvas.addEventListener("pointerup", () => { from = null; });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const svg = drawing(canvas);
      const [, , w, h] = boxes.get(svg);
      const moves = { ArrowLeft: [-w / 8, 0], ArrowRight: [w / 8, 0], ArrowUp: [0, -h / 8], ArrowDown: [0, h / 8] };
      if (moves[event.key]) pan(svg, ...moves[event.key]);
      else if (event.key === "+" || event.key === "=") zoom(svg, 1 / 1.3);
      else if (event.key === "-") zoom(svg, 1.3);
      else if (event.key === "0") fit(svg);
      else if (event.key === "s") walk(svg, 1);
      else if (event.key === "S") walk(svg, -1);
      else if (event.key === "Escape") focus(svg, null);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const bar = side.querySelector(".bar");
    bar.querySelector(".in").addEventListener("click", () => zoom(drawing(canvas), 1 / 1.3));
    bar.querySelector(".out").addEventListener("click", () => zoom(drawing(canvas), 1.3));
    bar.querySelector(".fit").addEventListener("click", () => fit(drawing(canvas)));
    const slider = bar.querySelector(".share");
    if (slider) slider.addEventListener("input", () => choose_share(side, Number(slider.value)));
    canvas.addEventListener("click", (event) => {
      const state = event.target.closest(".state");
      if (!moved) focus(drawing(canvas), state && !state.classList.contains("chosen") ? state : null);
    });
  } };

  // ------------------------------------------------------------------ the explanation, step by step
  const prepare_steps = (view) => {
    const steps = JSON.parse(view.querySelector("script.data").textContent);
    const items = all(".steps li", view);
    const [back, next] = all(".steps .turn", view);
    let at = -1;
    const sides = Object.fromEntries(all(".side", view).map((side) => [side.dataset.side, side]));
    const go = (to, { quietly = false } = {}) => {
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
        if (!sides[side]) continue;
        for (const state of all(".state", sides[side])) if (state.dataset.state === name) state.classList.add("lit");
      }
      for (const side of Object.values(sides)) {
        const canvas = side.querySelector(".canvas");
        // What a step speaks of may be too rare for the share that is shown.
        if (all(".edge.lit", canvas).length && !all(".edge.lit", drawing(canvas)).length) choose_share(side, all("svg", canvas).length - 1);
        bring(drawing(canvas), all(".lit", drawing(canvas)));
      }
      items.forEach((item, number) => {
        if (number === at) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
        if (number === at) item.parentNode.scrollTop = item.offsetTop - item.parentNode.offsetTop - 24;
      });
      back.disabled = at === 0;
      next.disabled = at === steps.length - 1;
      if (!quietly) say(`Step ${at + 1} of ${steps.length}: ${step.text}`);
    };
    view.turn = (by) => go(at + by);
    view.begin = () => go(0, { quietly: true });
    // What its reader has chosen, for a newer view of the same model that takes its place.
    view.kept = () => ({ at, sides: Object.fromEntries(Object.entries(sides).map(([name, side]) => {
      const svg = drawing(side.querySelector(".canvas"));
      const share = all(".canvas svg", side).indexOf(svg), chosen = svg.querySelector(".chosen");
      return [name, { share, whole: svg.dataset.box, box: boxes.get(svg), chosen: chosen && chosen.dataset.state }];
    })) });
    view.restore = (kept) => {
      if (kept.at < steps.length) go(kept.at, { quietly: true });
      for (const [name, { share, whole, box, chosen }] of Object.entries(kept.sides)) {
        if (!sides[name]) continue;
        if (share < all(".canvas svg", sides[name]).length) choose_share(sides[name], share);
        const svg = drawing(sides[name].querySelector(".canvas"));
        if (svg.dataset.box === whole && box) show(svg, box);
        const state = chosen && all(".state", svg).find((one) => one.dataset.state === chosen);
        if (state) focus(svg, state);
      }
    };
    if (steps.length) {
      back.addEventListener("click", () => view.turn(-1));
      next.addEventListener("click", () => view.turn(1));
      items.forEach((item, number) => item.querySelector("button").addEventListener("click", () => go(number)));
    }
  };

  // ------------------------------------------------------------------ search
  const search = document.getElementById("search"), found = document.getElementById("found");
  let hits = [], hit = -1;
  const seek = () => {
    for (const old of all(".hit")) old.classList.remove("hit");
    const text = search.value.trim().toLowerCase();
    hits = [];
    hit = -1;
    if (text) {
      hits = all(".canvas svg:not([hidden]) .state, .canvas svg:not([hidden]) text.action", current()).filter((element) => {
        const name = element.dataset.state ?? element.dataset.action;
        return name.toLowerCase().includes(text);
      });
      for (const element of hits) element.classList.add("hit");
    }
    found.textContent = text ? `${hits.length} found` : "";
  };
  const advance = (by) => {
    if (!hits.length) return;
    hit = (hit + by + hits.length) % hits.length;
    if (hits[hit].dataset.state !== undefined) focus(hits[hit].ownerSVGElement, hits[hit]);
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
    for (const side of all(".side", current())) {
      largest(side);
      open(drawing(side.querySelector(".canvas")));
    }
    current().begin();
    seek();
  };
  if (choice) choice.addEventListener("change", () => choose(Number(choice.value)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    if (event.key === "/") search.focus();
    else if (event.key === "n" || event.key === "ArrowRight") current()?.turn(1);
    else if (event.key === "p" || event.key === "ArrowLeft") current()?.turn(-1);
    else if (event.key === "t") theme.click();
    else return;
    event.preventDefault();
  });
  // Takes over the views that the page has now. A live page says so after it has put others there.
  const adopt = () => {
    views = all("section.view");
    for (const view of views) {
      if (view.begin) continue;
      prepare_drawings(view);
      prepare_steps(view);
    }
    if (views.length) choose(0);
  };
  document.addEventListener("spex-views", adopt);
  adopt();
})();
