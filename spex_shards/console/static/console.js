// Asks the server once a second for what has happened, and shows it. Texts are set as text; only drawings come as HTML,
// in which the server has escaped every name.
(() => {
  const by = (id) => document.getElementById(id);
  const which = by("which"), models = by("models"), live = by("live"), trouble = by("trouble");
  const make = (tag, text = "", name = "") => {
    const one = document.createElement(tag);
    one.textContent = text;
    if (name) one.className = name;
    return one;
  };
  const number = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en").replaceAll(",", "\u202f"));
  const counted = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
  const clock = (text) => new Date(text).toLocaleTimeString("en-GB");
  let shown = null, before = null, listed = "", known = null;

  const ask = async (path) => {
    const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
    if (answer.ok) return answer.json();
    const why = (await answer.text()).trim();
    throw Object.assign(new Error(answer.status === 401 ? "a token is needed: open the console again" : why), { code: answer.status });
  };

  // ------------------------------------------------------------------ shards
  const rate = (shard, state) => {
    const old = before && before.shards.find((one) => one.shard === shard.shard && one.pid === shard.pid);
    if (!old || old.observations === null || shard.observations === null || state.at <= before.at) return "";
    return `${number(Math.round((shard.observations - old.observations) / (state.at - before.at)))} obs/s`;
  };
  const show_shards = (state) => {
    by("shards").replaceChildren(...state.shards.map((shard) => {
      const one = make("li", "", shard.up ? "up" : "down");
      one.append(make("strong", `shard ${shard.shard}`), make("span", shard.up || shard.status !== "READY" ? shard.status : "NO ANSWER", "status"));
      for (const text of [rate(shard, state), `${number(shard.observations)} observed`, counted(shard.deviations, "deviation"),
        shard.timeouts ? counted(shard.timeouts, "timeout") : "", shard.queue ? `queue ${number(shard.queue)}` : "",
        shard.restarts ? counted(shard.restarts, "restart") : ""]) if (text) one.append(make("span", text));
      if (shard.last_exit) one.title = `the previous process ended: ${shard.last_exit}`;
      return one;
    }));
  };

  // ------------------------------------------------------------------ deviations
  const key = (one) => JSON.stringify([one.specification, one.step]);
  const show_deviations = (state) => {
    const now = JSON.stringify(state.deviations);
    if (now === listed) return;
    listed = now;
    by("deviating").textContent = state.deviating ? number(state.deviating) : "";
    by("deviations").replaceChildren(...state.deviations.map((one) => {
      const [source, action, target] = one.step, item = make("li", "", one.verdict === "equivalent" ? "mild" : "bad");
      const step = source === null ? `starts in ${target}` : `${source} ─ ${action} → ${target}`;
      const button = make("button", step, "step");
      button.type = "button";
      button.addEventListener("click", () => { which.value = one.specification; choose(); });
      const facts = [one.specification, one.verdict + (one.accepted ? ", accepted" : ""), one.count === 1 ? "once" : `${number(one.count)} times`, clock(one.last_seen)];
      item.append(button, make("small", facts.join(" · ")));
      if (known && known.get(key(one)) !== one.count) item.classList.add("fresh");
      return item;
    }));
    if (!state.deviations.length) by("deviations").append(make("li", "None so far.", "none"));
    const fresh = known ? state.deviations.filter((one) => !known.has(key(one))) : [];
    if (fresh.length) by("said").textContent = `New deviation: ${fresh[0].step.filter((part) => part !== null).join(", ")}`;
    known = new Map(state.deviations.map((one) => [key(one), one.count]));
  };

  // ------------------------------------------------------------------ models
  const show_models = async (state) => {
    const names = state.models.map((one) => one.name);
    if (JSON.stringify(names) !== JSON.stringify([...which.options].map((one) => one.value))) {
      const chosen = which.value || decodeURIComponent(location.hash.slice(1));
      which.replaceChildren(...names.map((name) => Object.assign(make("option", name), { value: name })));
      if (names.includes(chosen)) which.value = chosen;
    }
    const model = state.models.find((one) => one.name === which.value);
    const wanted = model ? `${model.name} ${model.drawn}` : null;
    if (wanted === null || wanted === shown) return;
    const { drawn, html } = await ask(`/view?model=${encodeURIComponent(model.name)}`);
    const old = models.querySelector("section.view");
    const kept = old && shown !== null && shown.startsWith(`${model.name} `) && old.kept ? old.kept() : null;
    models.innerHTML = html;
    shown = `${model.name} ${drawn}`;
    document.dispatchEvent(new Event("spex-views"));
    if (kept) models.querySelector("section.view").restore(kept);
  };
  const show_states = (state) => {
    const most = Math.max(1, ...state.states.map(([, count]) => count));
    by("counted").textContent = state.counted ? { all: `${number(state.counted)} instances`, sample: `a sample of ${number(state.counted)}`, unfinished: `${number(state.counted)} so far` }[state.extent] : "";
    by("states").replaceChildren(...state.states.map(([name, count]) => {
      const one = make("li"), bar = make("span", "", "fill");
      bar.style.width = `${(100 * count) / most}%`;
      one.append(bar, make("span", name), make("b", number(count)));
      return one;
    }));
  };

  // ------------------------------------------------------------------ an instance
  const show_instance = (one) => {
    const place = by("instance");
    if (!one.found) return place.replaceChildren(make("p", "There is no such instance.", "none"));
    const steps = make("ol", "", "history");
    if (one.cut) steps.append(make("li", "… older entries", "none"));
    for (const { action, state, time, deviates } of one.steps) {
      const item = make("li", "", deviates ? "bad" : "");
      item.append(make("time", clock(time)), make("span", `${action} → ${state}`));
      if (deviates) item.append(make("em", "deviates"));
      item.querySelector("time").title = time;
      steps.append(item);
    }
    const about = make("p");
    about.append(make("strong", one.identifier), make("span", ` · ${one.specification} · now in ${one.state ?? "–"}`));
    place.replaceChildren(about, ...(one.meta ? [make("p", `meta ${one.meta}`, "meta")] : []), steps);
    steps.scrollTop = steps.scrollHeight;
  };
  let sought = "";
  const seek = async (text) => {
    try {
      show_instance(await ask(`/instance?identifier=${encodeURIComponent(text)}`));
      sought = text;
    } catch (error) {
      sought = "";
      by("instance").replaceChildren(make("p", error.message, "none"));
    }
  };
  by("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = by("identifier").value;
    if (text) seek(text); else { sought = ""; by("instance").replaceChildren(); }
  });

  // ------------------------------------------------------------------ once a second
  const look = async () => {
    try {
      const state = await ask(`/state?model=${encodeURIComponent(which.value)}`);
      show_shards(state);
      show_deviations(state);
      await show_models(state);
      show_states(state);
      if (sought && before && JSON.stringify(state.shards.map((one) => one.observations)) !== JSON.stringify(before.shards.map((one) => one.observations))) await seek(sought);
      before = state;
      trouble.textContent = state.trouble;
      live.textContent = "live";
      live.className = "on";
    } catch (error) {
      trouble.textContent = error.code ? error.message : "the server does not answer; this page goes on when it does";
      live.textContent = "not live";
      live.className = "";
    }
    trouble.hidden = !trouble.textContent;
  };
  let timer = null, turns = 0;
  const again = async () => {
    clearTimeout(timer);
    const turn = ++turns;
    if (!document.hidden) await look();
    if (turn === turns) timer = setTimeout(again, 1000);
  };
  const choose = () => { location.hash = encodeURIComponent(which.value); again(); };
  which.addEventListener("change", choose);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) again(); });
  again();
})();
