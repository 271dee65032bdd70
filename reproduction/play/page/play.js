// The page: controls, story, drawing. What acts and moves is in agents.js, what is shown of the runs in data.js.
"use strict";
(() => {
  const data = globalThis.dmashData, $ = (id) => document.getElementById(id);
  if (!data) { // opened where it is kept, not where `make play` puts it
    document.querySelector("main").textContent = "This copy of the page has no networks: run make play and open build/play/index.html.";
    return;
  }
  const arms = data.arms.map((arm) => dmash.load(arm));
  const still = matchMedia("(prefers-reduced-motion: reduce)"), narrow = matchMedia("(max-width: 46rem)");
  const make = (tag, attributes = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const sign = (v) => (v < 0 ? "\u2212" : "+") + Math.abs(v);
  const K = Math.max(...arms.map((arm) => arm.window)), STEP_MS = 100; // a step of DI is 0.1 s

  // ---- the state: all that the address says; whatever is not in it is the default
  const defaults = { seed: 0, steps: data.horizon, speed: 1, arms: [], turn: [], place: [], start: null };
  for (const { name, value } of data.controls) defaults[name] = value;
  let state;

  const within = (value, low, high, fallback) =>
    (value !== null && value !== "" && Number.isFinite(+value) ? Math.min(Math.max(+value, low), high) : fallback);
  const number = (text) => (text.trim() === "" ? NaN : +text);
  const points = (text) => (text || "").split(",").map((part) => part.split(":").map(number)).filter((part) => part.every(Number.isFinite));

  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1)), found = { ...defaults };
    found.seed = Math.round(within(given.get("seed"), 0, 999999, defaults.seed));
    for (const { name, low, high, step, value } of data.controls) {
      const given_ = within(given.get(name), low, high, value);
      found[name] = name === "inversion" ? (given_ < 0 ? -1 : 1) : name === "delay" ? Math.round(given_) : +given_.toFixed(4);
      if (!(step > 0)) throw new Error(`${name} has no step`);
    }
    found.steps = Math.round(within(given.get("steps"), 1, 1000, defaults.steps));
    if ([...$("speed").options].some((option) => option.value === given.get("speed"))) found.speed = +given.get("speed");
    found.arms = (given.get("arms") || "").split(",").filter((name) => arms.some((arm) => arm.arm === name));
    found.turn = points(given.get("turn")).flat().map(Math.round).filter((t) => t >= -K);
    found.place = points(given.get("place")).filter((p) => p.length === 3).map(([t, x, y]) => [Math.round(t), edge(x), edge(y)]);
    const start = points(given.get("start"))[0];
    found.start = start && start.length === 2 ? start.map(edge) : null;
    return found;
  };
  const edge = (x) => Math.round(Math.min(Math.max(x, -1), 1) * 1000) / 1000;
  const words = () => {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      const text = name === "place" ? value.map((p) => p.join(":")).join(",") : name === "start" ? (value || []).join(":") : String(value);
      const usual = String(defaults[name] ?? "");
      if (text !== usual) given.set(name, text);
    }
    return `#${given}`.replace(/%2C/g, ",").replace(/%3A/g, ":");
  };
  const remember = () => history.replaceState(null, "", words());

  const usualArms = () => (narrow.matches ? [arms[0], arms[arms.length - 1]] : arms).map((arm) => arm.arm);
  const shownArms = () => {
    const chosen = arms.filter((arm) => (state.arms.length ? state.arms : usualArms()).includes(arm.arm)).map((arm) => arm.arm);
    if (!narrow.matches || chosen.length <= 2) return chosen;
    return (state.arms.length ? state.arms : usualArms()).slice(-2); // two at a time on a phone: those chosen last
  };

  // ---- the episode of every arm that is shown, in one world
  let world, runs = [], panels = [], time, playing = false, clock = 0;

  const begin = () => {
    world = {};
    for (const { name } of data.controls) world[name] = state[name];
    const starts = dmash.starts(state.seed);
    if (state.start) starts[1] = state.start;
    time = -K;
    runs = shownArms().map((name) => {
      const agent = arms.find((arm) => arm.arm === name);
      const noise = { obs: dmash.normals(state.seed, 1), action: dmash.normals(state.seed, 2) };
      const episode = new dmash.Episode(agent, world, starts, noise);
      return { agent, episode, trail: [{ t: time, p: episode.state.p }], z: [] };
    });
    clock = 0;
    paint(true);
  };

  const over = () => time >= state.steps;
  const advance = () => {
    if (over()) return;
    if (state.turn.includes(time)) world.inversion *= -1;
    for (const [t, x, y] of state.place) if (t === time) for (const run of runs) {
      run.episode.place([x, y]);
      run.trail.push({ t: time, p: [x, y], jump: true });
    }
    for (const run of runs) {
      const { episode } = run;
      if (time < episode.time) continue; // of a shorter window: its warm-up begins later
      episode.step();
      run.trail.push({ t: time + 1, p: episode.state.p, jump: time === -1, turn: state.turn.includes(time) });
      if (episode.z) run.z.push(episode.z);
    }
    time += 1;
  };
  const finish = () => { while (!over()) advance(); paint(true); };

  const resume = () => { // the same episode with other agents: all is determined, so it is run again up to here
    const until = time;
    begin();
    while (time < until) advance();
    paint(true);
  };

  let before = 0;
  const frame = (now) => {
    if (!playing) return;
    clock += Math.min(now - before, 250) * state.speed;
    before = now;
    let moved = false;
    while (clock >= STEP_MS && !over()) { advance(); clock -= STEP_MS; moved = true; }
    if (over()) { playing = false; clock = 0; moved = true; }
    paint(moved);
    requestAnimationFrame(frame);
  };
  const play = (on) => {
    if (on && over()) begin();
    if (on && still.matches) return finish(); // no motion: the whole episode at once
    if (on && !playing) { before = performance.now(); playing = true; requestAnimationFrame(frame); }
    if (!on) playing = false;
    paint(true);
  };

  // ---- drawing
  let colours;
  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    colours = Object.fromEntries(["page", "text", "soft", "line", "panel", "grid", "upright", "inverted"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };
  const inkOf = (arm) => (arm.colour === "#000000" ? colours.text : arm.colour); // black is no colour in the dark
  const pen = (canvas, width, height) => {
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    return g;
  };
  const dot = (g, x, y, r) => { g.beginPath(); g.arc(x, y, r, 0, 2 * Math.PI); };
  const arrow = (g, x, y, dx, dy, hollow) => {
    const length = Math.hypot(dx, dy);
    if (length < 2) return;
    const [ux, uy] = [dx / length, dy / length], head = Math.min(9, length);
    g.setLineDash(hollow ? [3, 3] : []);
    g.beginPath();
    g.moveTo(x, y);
    g.lineTo(x + dx - ux * head, y + dy - uy * head);
    g.stroke();
    g.setLineDash([]);
    g.beginPath();
    g.moveTo(x + dx, y + dy);
    g.lineTo(x + dx - ux * head - uy * head * 0.5, y + dy - uy * head + ux * head * 0.5);
    g.lineTo(x + dx - ux * head + uy * head * 0.5, y + dy - uy * head - ux * head * 0.5);
    g.closePath();
    if (hollow) g.stroke(); else g.fill();
  };
  const mark = (g, x, y, r, inverted) => { // circle: upright, triangle: inverted
    if (!inverted) return dot(g, x, y, r);
    g.beginPath();
    g.moveTo(x, y - 1.25 * r);
    g.lineTo(x + 1.15 * r, y + 0.8 * r);
    g.lineTo(x - 1.15 * r, y + 0.8 * r);
    g.closePath();
  };

  const drawPlane = (panel, run) => {
    const { canvas } = panel, size = panel.width, g = pen(canvas, size, size), { episode, trail, agent } = run;
    const at = ([x, y]) => [((x + 1.12) / 2.24) * size, ((1.12 - y) / 2.24) * size], unit = size / 2.24, ink = inkOf(agent);
    g.fillStyle = colours.page;
    g.fillRect(0, 0, size, size);
    g.strokeStyle = colours.grid;
    g.lineWidth = 1;
    for (const v of [-1, -0.5, 0, 0.5, 1]) {
      for (const [a, b] of [[[v, -1], [v, 1]], [[-1, v], [1, v]]]) {
        g.beginPath();
        g.moveTo(...at(a));
        g.lineTo(...at(b));
        g.stroke();
      }
    }
    dot(g, ...at([0, 0]), 0.1 * unit);
    g.fillStyle = episode.state.reward && time > 0 ? ink : colours.grid;
    g.globalAlpha = 0.55;
    g.fill();
    g.globalAlpha = 1;
    g.strokeStyle = colours.soft;
    g.lineWidth = 2;
    g.stroke();
    for (const scored of [false, true]) { // the warm-up's trail, then the episode's
      g.strokeStyle = scored ? ink : colours.soft;
      g.setLineDash(scored ? agent.dash.map((d) => 2.2 * d) : [1, 4]);
      g.lineWidth = scored ? 2.2 : 1.5;
      g.beginPath();
      for (const point of trail) {
        if ((point.t > 0 || (point.t === 0 && point.jump)) !== scored) continue;
        const [x, y] = at(point.p);
        if (point.jump) g.moveTo(x, y); else g.lineTo(x, y);
      }
      g.stroke();
    }
    g.setLineDash([]);
    g.strokeStyle = colours.text;
    g.lineWidth = 2;
    for (const point of trail) if (point.turn) {
      const [x, y] = at(point.p);
      g.beginPath();
      for (const [dx, dy] of [[0, -7], [7, 0], [0, 7], [-7, 0]]) g.lineTo(x + dx, y + dy);
      g.closePath();
      g.stroke();
    }
    const { p, v, force } = episode.state, ahead = playing && !over() ? clock / STEP_MS : 0;
    const [x, y] = at([0, 1].map((i) => Math.min(Math.max(p[i] + v[i] * 0.1 * ahead, -1), 1)));
    g.strokeStyle = g.fillStyle = ink;
    g.lineWidth = 2.4;
    arrow(g, x, y, 0.35 * unit * force[0], -0.35 * unit * force[1], false);
    if (episode.action) {
      g.strokeStyle = colours.soft;
      g.lineWidth = 1.5;
      arrow(g, x, y, 0.35 * unit * episode.action[0], -0.35 * unit * episode.action[1], true);
    }
    g.fillStyle = ink;
    dot(g, x, y, unit * 0.055 * Math.sqrt(world.mass));
    g.fill();
    g.strokeStyle = colours.page;
    g.lineWidth = 1.5;
    g.stroke();
    if (panel.cursor) {
      const [cx, cy] = at(panel.cursor);
      g.strokeStyle = colours.text;
      g.lineWidth = 1.5;
      for (const [dx, dy] of [[9, 0], [0, 9]]) { g.beginPath(); g.moveTo(cx - dx, cy - dy); g.lineTo(cx + dx, cy + dy); g.stroke(); }
    }
    if (world.inversion < 0) {
      g.fillStyle = colours.text;
      g.font = "600 12px system-ui, sans-serif";
      g.fillText("\u21c4 inverted", at([-1, 1])[0] + 5, at([-1, 1])[1] + 15);
      g.strokeStyle = colours.text;
      g.lineWidth = 2;
      g.strokeRect(...at([-1, 1]), 2 * unit, 2 * unit);
    }
  };

  const square = (g, left, top, size, title) => {
    g.fillStyle = colours.soft;
    g.font = "11px system-ui, sans-serif";
    g.fillText(title, left, top - 5);
    g.fillStyle = colours.page;
    g.fillRect(left, top, size, size);
    g.strokeStyle = colours.line;
    g.lineWidth = 1;
    g.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
  };

  const drawMind = (panel, run) => {
    const { agent, episode } = run, { width } = panel, gap = 8, size = Math.floor((width - 2 * gap) / 3), top = 18;
    const g = pen(panel.mind, width, size + top + 42), ink = inkOf(agent), codes = agent.codes;
    const latest = run.z[run.z.length - 1];
    if (codes) codes.planes.forEach((plane, i) => {
      const wide = codes.planes.length === 1 ? 2 * size + gap : size, left = i * (size + gap);
      const title = codes.planes.length === 1 ? "z, two principal axes" : size < 75 ? `z ${i + 1}` : `z, group ${i + 1}`;
      square(g, left, top, wide, title); // a wide one is cut to its height below
      if (wide !== size) { g.clearRect(left, top + size, wide, wide); g.strokeRect(left + 0.5, top + 0.5, wide - 1, size - 1); }
      const project = (z) => {
        const [x, y] = plane.axes.map((axis, j) => axis.reduce((sum, a, k) => sum + a * z[k], 0) - plane.origin[j]);
        return [left + wide / 2 + (x * wide) / 2.3, top + size / 2 - (y * size) / 2.3];
      };
      g.save();
      g.beginPath();
      g.rect(left, top, wide, size);
      g.clip();
      if (plane.corners) {
        g.strokeStyle = colours.line;
        g.beginPath();
        for (const a of plane.corners) for (const b of plane.corners) {
          g.moveTo(left + size / 2 + (a[0] * size) / 2.3, top + size / 2 - (a[1] * size) / 2.3);
          g.lineTo(left + size / 2 + (b[0] * size) / 2.3, top + size / 2 - (b[1] * size) / 2.3);
        }
        g.stroke();
      }
      codes.means.forEach((mean, c) => {
        const [mass, inversion] = codes.contexts[c];
        g.fillStyle = inversion < 0 ? colours.inverted : colours.upright;
        g.globalAlpha = 0.7;
        mark(g, ...project(mean), 1.6 + 1.6 * mass, inversion < 0);
        g.fill();
      });
      g.globalAlpha = 1;
      g.strokeStyle = ink;
      g.lineWidth = 1;
      g.beginPath();
      for (const z of run.z.slice(-agent.window)) g.lineTo(...project(z));
      g.stroke();
      if (latest) {
        dot(g, ...project(latest), 5);
        g.fillStyle = ink;
        g.fill();
        g.strokeStyle = colours.text;
        g.lineWidth = 2;
        g.stroke();
      }
      g.restore();
    });
    else {
      square(g, 0, top, size, "");
      g.clearRect(0, 0, 2 * size + gap, top + size + 1);
      g.fillStyle = colours.soft;
      g.font = "12px system-ui, sans-serif";
      ["no z: infers", "no context"].forEach((line, i) => g.fillText(line, 2, top + 16 + 17 * i));
    }
    const left = 2 * (size + gap);
    square(g, left, top, size, "push");
    const place = (a) => [left + size / 2 + (a[0] * size) / 2.3, top + size / 2 - (a[1] * size) / 2.3];
    if (episode.action) {
      g.strokeStyle = colours.grid;
      g.beginPath();
      g.moveTo(...place([-1, 0])); g.lineTo(...place([1, 0])); g.moveTo(...place([0, -1])); g.lineTo(...place([0, 1]));
      g.stroke();
      if (episode.without) {
        g.strokeStyle = colours.soft;
        g.lineWidth = 1.5;
        g.beginPath();
        g.moveTo(...place(episode.without));
        g.lineTo(...place(episode.action));
        g.stroke();
        dot(g, ...place(episode.without), 4);
        g.fillStyle = colours.page;
        g.fill();
        g.stroke();
      }
      dot(g, ...place(episode.action), 4.5);
      g.fillStyle = ink;
      g.fill();
    }
    if (!codes) return;
    const row = top + size + 18, cell = width / agent.window, turned = state.turn.filter((t) => t < time).pop();
    g.fillStyle = colours.soft;
    g.font = "11px system-ui, sans-serif";
    g.fillText(`window, K = ${agent.window}`, 0, row - 4);
    for (let i = 0; i < agent.window; i++) {
      const t = time - agent.window + i, x = i * cell + 1, w = cell - 2; // the step of this transition
      g.fillStyle = t >= 0 ? ink : colours.line;
      if (t >= -K) g.fillRect(x, row, w, 12);
      if (turned !== undefined && t >= turned) {
        g.strokeStyle = colours.panel;
        g.lineWidth = 2;
        g.beginPath();
        g.moveTo(x, row + 12); g.lineTo(x + w, row);
        g.stroke();
      }
      g.lineWidth = agent.positions.includes(i) ? 2.5 : 0.75;
      g.strokeStyle = agent.positions.includes(i) ? colours.text : colours.line;
      g.strokeRect(x, row, w, 12);
    }
  };

  const spoken = (run) => {
    const { episode } = run, p = episode.state.p.map((x) => x.toFixed(2)).join(", ");
    return `${run.agent.name}: ${phase()}, mass at (${p}), return ${episode.total}`;
  };
  const thought = ({ agent, episode, z }) => { // in words what the small pictures show
    const { codes, method } = agent, latest = z[z.length - 1], parts = [];
    if (method.context === "none") parts.push("context not observed");
    if (method.context === "true") parts.push(`observed context: mass ${world.mass}, ${world.inversion < 0 ? "inverted" : "upright"}`);
    if (codes && latest) {
      const far = codes.means.map((mean) => mean.reduce((sum, m, k) => sum + (m - latest[k]) ** 2, 0));
      const [mass, inversion] = codes.contexts[far.indexOf(Math.min(...far))];
      parts.push(`z nearest to mass ${mass.toFixed(2)}, ${inversion < 0 ? "inverted" : "upright"}`);
    }
    if (episode.without) parts.push(`adapter changes the push by ${Math.hypot(...episode.without.map((a, i) => episode.action[i] - a)).toFixed(2)}`);
    return parts.join("; ");
  };
  const phase = () => (time < 0 ? `warm-up ${time + K} of ${K}, not scored` : `step ${time} of ${state.steps}`);

  const paint = (moved) => {
    runs.forEach((run, i) => {
      const panel = panels[i];
      drawPlane(panel, run);
      if (!moved) return;
      drawMind(panel, run);
      panel.said.textContent = phase();
      panel.score.textContent = time <= 0 ? "return \u2013" : `return ${run.episode.total} of ${time}`;
      panel.thought.textContent = thought(run);
      if (playing) return;
      panel.canvas.setAttribute("aria-label", spoken(run));
      panel.mind.setAttribute("aria-label", `${run.agent.name}, embedding, push and window: ${thought(run) || "nothing yet"}`);
    });
    if (!moved) return;
    $("play").textContent = playing ? "Pause" : still.matches ? "Play (all at once)" : over() ? "Play again" : "Play";
    for (const id of ["step", "end", "turn"]) $(id).disabled = over();
    const happened = [...state.turn.map((t) => `inverted at step ${t}`), ...state.place.map(([t]) => `moved at step ${t}`)];
    if (state.start) happened.unshift(`starts from (${state.start.join(", ")})`);
    $("events").hidden = !happened.length;
    $("events").firstChild.textContent = `In this episode: ${happened.join("; ")}.`;
  };

  // ---- panels
  const swatch = (arm) => {
    const canvas = make("canvas", { className: "swatch", ariaHidden: "true" });
    const draw = () => {
      const g = pen(canvas, 32, 14);
      g.strokeStyle = inkOf(arm);
      g.lineWidth = 3;
      g.setLineDash(arm.dash.map((d) => 2.2 * d));
      g.beginPath();
      g.moveTo(0, 7); g.lineTo(32, 7);
      g.stroke();
    };
    swatches.push(draw);
    return canvas;
  };
  let swatches = [];

  const lay = () => {
    $("worlds").replaceChildren();
    panels = shownArms().map((name) => {
      const arm = arms.find((one) => one.arm === name);
      const canvas = make("canvas", { className: "plane", tabIndex: 0 }), mind = make("canvas", { className: "mind" });
      canvas.setAttribute("role", "img");
      mind.setAttribute("role", "img");
      const panel = { canvas, mind, cursor: null, said: make("p"), score: make("p", { className: "score" }), thought: make("p", { className: "thought" }) };
      $("worlds").append(make("article", { className: "agent" }, make("h3", {}, swatch(arm), arm.name), canvas, panel.score, panel.said, mind, panel.thought));
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        put(((event.clientX - box.left) / box.width) * 2.24 - 1.12, 1.12 - ((event.clientY - box.top) / box.height) * 2.24);
      });
      canvas.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
        if (move) {
          panel.cursor = (panel.cursor || [0, 0]).map((x, i) => edge(x + move[i]));
          canvas.setAttribute("aria-label", `cursor at (${panel.cursor.join(", ")}), press Enter to put the mass there`);
        } else if (event.key === "Enter" && panel.cursor) { put(...panel.cursor); panel.cursor = null; } else return;
        event.preventDefault();
        paint(false);
      });
      canvas.addEventListener("blur", () => { panel.cursor = null; paint(false); });
      return panel;
    });
    measure();
  };
  const measure = () => { for (const panel of panels) panel.width = panel.canvas.clientWidth || 200; };

  const put = (x, y) => {
    if (time < 0 || over()) state.start = [edge(x), edge(y)]; // where the scored episode begins
    else state.place = [...state.place.filter(([t]) => t !== time), [time, edge(x), edge(y)]];
    remember();
    if (time < 0) for (const run of runs) run.episode.start = state.start;
    if (over()) return begin();
    if (!playing && time >= 0) advance(); else paint(true);
    paint(true);
  };
  const turn = () => {
    if (over()) return;
    state.turn = state.turn.includes(time) ? state.turn.filter((t) => t !== time) : [...state.turn, time];
    remember();
    if (!playing) advance();
    paint(true);
  };
  const set = (changes, start = true) => {
    state = { ...state, ...changes };
    remember();
    show();
    if (start) begin();
  };

  // ---- controls
  const inputs = {};
  const format = { inversion: (v) => (v < 0 ? "\u22121, inverted" : "+1, upright") };
  const show = () => {
    for (const { name } of data.controls) {
      inputs[name].value = state[name];
      inputs[name].output.value = (format[name] || String)(state[name]);
      inputs[name].setAttribute("aria-valuetext", inputs[name].output.value);
    }
    for (const id of ["seed", "steps", "speed"]) $(id).value = state[id];
    const chosen = shownArms();
    for (const box of $("arms").querySelectorAll("input")) box.checked = chosen.includes(box.value);
    drawMaps();
  };

  const build = () => {
    for (const { name, title, low, high, step, train } of data.controls) {
      const output = make("output"), input = make("input", { type: "range", min: low, max: high, step, id: `control-${name}` });
      const label = make("label", {}, make("span", { className: "name" }, title, output), input);
      inputs[name] = input;
      input.output = output;
      if (train) {
        const part = (v) => `${(100 * (v - low)) / (high - low)}%`, bracket = make("i");
        bracket.style.left = part(train[0]);
        bracket.style.width = part(train[0] + low + (train[1] - train[0]) - train[0]);
        label.append(make("span", { className: "range" }, bracket), make("span", { className: "small" }, `bracket: training range, ${train[0]} to ${train[1]}`));
      }
      input.addEventListener("input", () => {
        story(-1);
        set({ [name]: name === "inversion" ? (+input.value < 0 ? -1 : 1) : +input.value });
      });
      $("sliders").append(label);
    }
    for (const arm of arms) {
      const box = make("input", { type: "checkbox", value: arm.arm });
      box.addEventListener("change", () => {
        const now = shownArms(), next = box.checked ? [...now, arm.arm] : now.filter((name) => name !== arm.arm);
        if (!next.length) { box.checked = true; return; }
        state.arms = next;
        lay();
        set({}, false);
        resume();
      });
      $("arms").append(make("label", {}, box, swatch(arm), arm.name));
    }
    $("seed").addEventListener("change", () => set({ seed: Math.round(within($("seed").value, 0, 999999, 0)) }));
    $("steps").addEventListener("change", () => set({ steps: Math.round(within($("steps").value, 1, 1000, defaults.steps)) }));
    $("speed").addEventListener("change", () => set({ speed: +$("speed").value }, false));
    $("play").addEventListener("click", () => play(!playing));
    $("step").addEventListener("click", () => { play(false); advance(); paint(true); });
    $("end").addEventListener("click", () => { play(false); finish(); });
    $("again").addEventListener("click", () => { play(false); begin(); });
    $("turn").addEventListener("click", turn);
    $("forget").addEventListener("click", () => set({ turn: [], place: [], start: null }));
    const keys = { " ": "play", s: "step", e: "end", r: "again", t: "turn" };
    addEventListener("keydown", (event) => {
      const busy = event.target.closest("input, select, button, summary, a"), key = keys[event.key];
      if (!key || busy || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      $(key).click();
    });
    data.story.forEach((part, i) => {
      const button = make("button", { type: "button", textContent: part.title });
      button.addEventListener("click", () => {
        story(i);
        const { arms: wanted = [], ...rest } = part.state;
        state = { ...defaults, seed: state.seed, speed: state.speed, arms: wanted };
        lay();
        set(rest);
        $("worlds").scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
        play(true);
      });
      $("story").append(make("li", {}, button));
    });
    for (const arm of arms) {
      const cells = [arm.env, arm.seed, arm.steps.toLocaleString("en"), arm.commit];
      $("made").tBodies[0].append(make("tr", {}, make("th", { scope: "row", textContent: arm.name }), ...cells.map((text) => make("td", { textContent: text }))));
    }
    if (data.home) {
      const home = document.querySelector(".home");
      home.hidden = false;
      home.firstChild.href = data.home;
    }
  };
  const story = (i) => {
    [...$("story").querySelectorAll("button")].forEach((button, j) => button.setAttribute("aria-pressed", i === j));
    $("told").textContent = i < 0 ? "Choose a step, or set up a world below." : data.story[i].text;
  };

  // ---- return over the context plane
  const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"]
    .map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  const viridis = (x) => {
    const at = Math.min(Math.max(x, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(at), VIRIDIS.length - 2);
    return `rgb(${VIRIDIS[i].map((v, j) => Math.round(v + (at - i) * (VIRIDIS[i + 1][j] - v)))})`;
  };
  let maps = [];
  const buildMaps = () => {
    const mapped = arms.filter((arm) => arm.map.length);
    $("map-section").hidden = !mapped.length;
    $("map-lead").textContent = `The recorded mean return over ${data.rollouts} starts, from dark (0) to bright (${data.horizon}), ` +
      "by mass (horizontal) and inversion (rows); the curve shows the same values. The numbers are means inside and outside the training range (bracket). Click to start that world above, or use the arrow keys and Enter.";
    for (const arm of mapped) {
      const canvas = make("canvas", { tabIndex: 0 }), masses = [...new Set(arm.map.map((row) => row[0]))].sort((a, b) => a - b);
      const inside = data.controls.find((c) => c.name === "mass").train;
      const mean = (keep) => { const rows = arm.map.filter(keep); return (rows.reduce((a, row) => a + row[2], 0) / rows.length).toFixed(0); };
      const isIn = ([mass]) => mass >= inside[0] && mass <= inside[1];
      const said = `${mean(isIn)} inside, ${mean((row) => !isIn(row))} outside`;
      canvas.setAttribute("role", "img");
      const map = { arm, canvas, masses, at: null, told: said };
      const cell = (mass, inversion) => arm.map.find((row) => row[0] === mass && row[1] === inversion);
      const say = () => {
        const [i, inversion] = map.at, row = cell(masses[i], inversion);
        const text = `${arm.name}, mass ${row[0]}, ${inversion < 0 ? "inverted" : "upright"}: return ${row[2].toFixed(1)}, standard deviation ${row[3].toFixed(1)}`;
        $("map-said").textContent = text;
        canvas.setAttribute("aria-label", text);
      };
      const open = () => {
        const [i, inversion] = map.at;
        story(-1);
        set({ mass: masses[i], inversion, turn: [], place: [], start: null });
        $("worlds").scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
        play(true);
      };
      const under = (event) => {
        const box = canvas.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * masses.length;
        return [Math.min(Math.max(Math.floor(x), 0), masses.length - 1), (event.clientY - box.top) / box.height < 0.5 ? 1 : -1];
      };
      canvas.addEventListener("pointermove", (event) => { map.at = under(event); say(); drawMap(map); });
      canvas.addEventListener("pointerleave", () => { map.at = null; drawMap(map); });
      canvas.addEventListener("click", (event) => { map.at = under(event); open(); });
      canvas.addEventListener("keydown", (event) => {
        const now = masses.reduce((best, m, i) => (Math.abs(m - state.mass) < Math.abs(masses[best] - state.mass) ? i : best), 0);
        map.at = map.at || [now, state.inversion];
        const [i, inversion] = map.at;
        const next = { ArrowLeft: [i - 1, inversion], ArrowRight: [i + 1, inversion], ArrowUp: [i, 1], ArrowDown: [i, -1], Enter: map.at }[event.key];
        if (!next) return;
        event.preventDefault();
        map.at = [Math.min(Math.max(next[0], 0), masses.length - 1), next[1]];
        say();
        drawMap(map);
        if (event.key === "Enter") open();
      });
      canvas.setAttribute("aria-label", `${arm.name}: mean return ${said}`);
      $("maps").append(make("figure", {}, make("figcaption", {}, make("span", {}, swatch(arm), make("b", { textContent: arm.name })), make("span", { className: "small", textContent: said })), canvas));
      maps.push(map);
    }
  };
  const drawMap = (map) => {
    const width = map.canvas.clientWidth || 300, height = 90, g = pen(map.canvas, width, height), { masses, arm } = map;
    const w = width / masses.length, strip = 34, tops = { 1: 0, "-1": 40 }, train = data.controls.find((c) => c.name === "mass").train;
    for (const inversion of [1, -1]) {
      const rows = masses.map((mass) => arm.map.find((row) => row[0] === mass && row[1] === inversion));
      rows.forEach((row, i) => {
        g.fillStyle = viridis(row[2] / data.horizon);
        g.fillRect(i * w, tops[inversion], w + 0.6, strip);
      });
      for (const [ink, thick] of [["#000", 3.5], ["#fff", 1.5]]) {
        g.strokeStyle = ink;
        g.lineWidth = thick;
        g.beginPath();
        rows.forEach((row, i) => g.lineTo((i + 0.5) * w, tops[inversion] + strip * (1 - row[2] / data.horizon)));
        g.stroke();
      }
      g.font = "600 11px system-ui, sans-serif";
      g.lineWidth = 3;
      g.strokeStyle = "#000";
      g.fillStyle = "#fff";
      g.strokeText(sign(inversion), 4, tops[inversion] + 13);
      g.fillText(sign(inversion), 4, tops[inversion] + 13);
    }
    const place = (mass) => ((mass - masses[0]) / (masses[masses.length - 1] - masses[0])) * (width - w) + w / 2;
    g.fillStyle = g.strokeStyle = colours.soft;
    g.lineWidth = 1.5;
    g.beginPath();
    g.moveTo(place(train[0]), 75); g.lineTo(place(train[0]), 80); g.lineTo(place(train[1]), 80); g.lineTo(place(train[1]), 75);
    g.stroke();
    g.font = "11px system-ui, sans-serif";
    g.textAlign = "center";
    for (const mass of [...train, masses[masses.length - 1]]) g.fillText(mass, Math.min(place(mass), width - 8), 90);
    g.fillText(masses[0], 8, 90);
    g.textAlign = "start";
    const frames = [[place(state.mass), state.inversion, 1.5]];
    if (map.at) frames.push([(map.at[0] + 0.5) * w, map.at[1], 2.5]);
    for (const [x, inversion, thick] of frames) {
      for (const [ink, extra] of [["#000", 2], ["#fff", 0]]) {
        g.strokeStyle = ink;
        g.lineWidth = thick + extra;
        g.strokeRect(x - w / 2 - 1, tops[inversion] + 1, w + 2, strip - 2);
      }
    }
  };
  const drawMaps = () => maps.forEach(drawMap);

  const redraw = () => { theme(); measure(); swatches.forEach((draw) => draw()); drawMaps(); paint(true); };
  theme();
  state = read();
  build();
  buildMaps();
  story(-1);
  lay();
  show();
  begin();
  redraw();
  addEventListener("resize", redraw);
  addEventListener("hashchange", () => { state = read(); lay(); show(); begin(); redraw(); });
  narrow.addEventListener("change", () => { // a phone that is turned, a window made smaller
    if (runs.map((run) => run.agent.arm).join() !== shownArms().join()) { lay(); show(); resume(); }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  globalThis.dmashPage = { // for the tests
    get runs() { return runs; }, get time() { return time; }, get world() { return world; }, get playing() { return playing; }, paint,
  };
})();
