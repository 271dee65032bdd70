// The agents and their world in plain JavaScript: the forward pass of dmash_core.agents (evaluation mode), the physics
// of dmash_core.benchmark.double_integrator and the driver of dmash_core.evaluation. tests/test_play.py holds each to
// PyTorch and NumPy. No DOM here. A matrix is a Float32Array, row by row; weights are (inputs, outputs).
"use strict";
const dmash = {};
globalThis.dmash = dmash;

// ---- weights: base64 of little-endian int16, in units of their tensor, or float32
dmash.decode = (text, dtype) => {
  const characters = atob(text), bytes = new Uint8Array(characters.length), view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const [size, read] = { int16: [2, "getInt16"], float32: [4, "getFloat32"] }[dtype], values = new Float32Array(bytes.length / size);
  for (let i = 0; i < values.length; i++) values[i] = view[read](size * i, true);
  return values;
};

// An arm of the export with its weights as arrays by name; `shapes` tells order and units in the file.
dmash.load = (arm) => {
  const flat = dmash.decode(arm.weights, arm.dtype), weights = {};
  let at = 0;
  for (const [name, shape, unit] of arm.shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    weights[name] = flat.slice(at, at += size);
    for (let i = 0; i < size; i++) weights[name][i] *= unit;
  }
  if (at !== flat.length) throw new Error(`${arm.arm}: ${flat.length} weights, but its shapes need ${at}`);
  return { ...arm, weights };
};

// ---- layers
const linear = (x, weight, bias) => {
  const n = weight.length / x.length, y = new Float64Array(n);
  if (bias) y.set(bias);
  for (let i = 0; i < x.length; i++) {
    if (x[i] === 0) continue; // half of what a ReLU leaves
    const row = i * n, v = x[i];
    for (let j = 0; j < n; j++) y[j] += v * weight[row + j];
  }
  return y;
};
const layer = (w, name, x) => linear(x, w[`${name}.weight`], w[`${name}.bias`]);
const relu = (x) => x.map((v) => Math.max(v, 0));
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const softmax = (x) => {
  const top = Math.max(...x), e = Array.from(x, (v) => Math.exp(v - top)), sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
};
const norms = {
  none: (x) => x,
  avgl1: (x) => {
    const mean = x.reduce((a, v) => a + Math.abs(v), 0) / x.length;
    return x.map((v) => v / Math.max(mean, 1e-8));
  },
  simnorm: (x) => Float64Array.from([...softmax(x.slice(0, x.length / 2)), ...softmax(x.slice(x.length / 2))]),
  layernorm: (x, w, name) => {
    const mean = x.reduce((a, v) => a + v, 0) / x.length;
    const variance = x.reduce((a, v) => a + (v - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * w[`${name}.weight`][i] + w[`${name}.bias`][i]);
  },
};

// ---- the context encoder: the window's K rows [s, a, s' - s], oldest first -> z
dmash.encode = (agent, rows) => {
  const { weights: w, method } = agent, windowed = method.input_norm === "windownorm";
  if (windowed) { // over all K steps, before the few are taken; the standard deviation has n - 1
    const columns = rows[0].map((_, j) => rows.map((row) => row[j]));
    const mean = columns.map((c) => c.reduce((a, v) => a + v, 0) / c.length);
    const std = columns.map((c, j) => Math.sqrt(c.reduce((a, v) => a + (v - mean[j]) ** 2, 0) / (c.length - 1)));
    const scale = w["encoder.window_norm.weight"], shift = w["encoder.window_norm.bias"];
    rows = rows.map((row) => row.map((v, j) => ((v - mean[j]) / (std[j] + 1e-5)) * scale[j] + shift[j]));
  }
  const norm = norms[windowed ? "none" : method.input_norm];
  const n = w["encoder.lstm.weight_hh"].length ** 0.5 / 2; // (n, 4 n)
  let h = new Float64Array(n), c = new Float64Array(n);
  for (const t of agent.positions) {
    const x = norm(layer(w, "encoder.input", rows[t]), w, "encoder.input_norm");
    const gates = linear(x, w["encoder.lstm.weight_ih"], w["encoder.lstm.bias_ih"]);
    linear(h, w["encoder.lstm.weight_hh"], w["encoder.lstm.bias_hh"]).forEach((v, j) => { gates[j] += v; });
    c = c.map((old, j) => sigmoid(gates[n + j]) * old + sigmoid(gates[j]) * Math.tanh(gates[2 * n + j]));
    h = c.map((value, j) => sigmoid(gates[3 * n + j]) * Math.tanh(value));
  }
  return norms[method.output_norm](layer(w, "encoder.output", h), w, "encoder.output_norm");
};

// ---- the chunked hypernetwork: a code -> omega, in the order W_down (k, width), b_down, W_up (width, k), b_up
dmash.omega = (agent, code) => {
  const { weights: w, hypernetwork: name } = agent, { width, bottleneck: k } = agent.method;
  const chunks = w[`${name}.chunks`], size = chunks.length / (k + 1), omega = new Float64Array((k + 1) * 2 * width);
  for (let chunk = 0; chunk <= k; chunk++) {
    const x = Float64Array.from([...code, ...chunks.subarray(chunk * size, (chunk + 1) * size)]);
    const h = relu(layer(w, `${name}.second`, relu(layer(w, `${name}.first`, x))));
    omega.set(layer(w, `${name}.last`, h), chunk * 2 * width);
  }
  return omega;
};

// x + W_up ReLU(W_down x + b_down) + b_up
const adapter = (omega, x, k) => {
  const n = x.length, u = new Float64Array(k), up = k * n + k, y = x.slice();
  for (let i = 0; i < k; i++) {
    let sum = omega[k * n + i];
    for (let j = 0; j < n; j++) sum += omega[i * n + j] * x[j];
    u[i] = Math.max(sum, 0);
  }
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < k; i++) y[j] += omega[up + j * k + i] * u[i];
    y[j] += omega[up + n * k + j];
  }
  return y;
};

// ---- the mean policy: observation and code (z, the true context, or null) -> the action, and without the adapter
dmash.policy = (agent, obs, code) => {
  const w = agent.weights, act = (x) => Array.from(layer(w, "actor.head", relu(x)).slice(0, agent.n_act), Math.tanh);
  const { adapts } = agent, input = adapts || !code ? obs : [...obs, ...code];
  const x = layer(w, "actor.second", relu(layer(w, "actor.first", Float64Array.from(input))));
  if (!adapts) return { action: act(x), without: null };
  return { action: act(adapter(dmash.omega(agent, code), x, agent.method.bottleneck)), without: act(x) };
};

// ---- the double integrator; world: mass, inversion, friction, delay, obs_noise, action_noise
const DT = 0.1, clip = (v) => Math.min(Math.max(v, -1), 1);

dmash.physics = ({ p, v }, action, world) => { // -> p, v and the reward of the state reached
  const damping = 1 - (DT * world.friction) / world.mass, force = action.map((a) => clip(world.inversion * a));
  const moved = p.map((x, i) => clip(x + v[i] * DT)); // with the old velocity: the order is part of the benchmark
  const speed = v.map((x, i) => clip(x * damping + (force[i] / world.mass) * DT));
  return { p: moved, v: speed, force, reward: Math.sqrt(moved[0] ** 2 + moved[1] ** 2) <= 0.1 ? 1 : 0 };
};

// An agent in a world: K steps of warm-up from starts[0], then the scored episode from starts[1]. `world` may change
// while it runs. `noise` has two functions obs() and action(), each the next standard normal number.
dmash.Episode = class {
  constructor(agent, world, starts, noise) {
    Object.assign(this, { agent, world, noise, time: -agent.window, total: 0, z: null, action: null, without: null });
    this.start = starts[1];
    this.reset(starts[0]);
    const still = [...this.obs, ...Array(agent.n_act).fill(0), ...this.obs.map(() => 0)];
    this.rows = Array.from({ length: agent.window }, () => still); // the window, oldest first
  }
  reset(p) {
    this.place(p);
    this.pending = Array.from({ length: this.world.delay }, () => Array(this.agent.n_act).fill(0));
  }
  place(p) { // to rest at p; the window keeps what it has seen
    this.state = { p: p.slice(), v: [0, 0], force: [0, 0], reward: 0 };
    this.observe();
  }
  observe() { // in float32, like the real thing's
    const sigma = this.world.obs_noise, seen = [...this.state.p, ...this.state.v];
    this.obs = seen.map((x) => Math.fround(sigma ? Math.fround(x) + sigma * this.noise.obs() : x));
  }
  step() { // time -K, ..., -1 is the warm-up, 0, ..., horizon - 1 is scored
    const { agent, world, obs } = this, inferred = agent.method.context === "inferred";
    this.z = inferred ? dmash.encode(agent, this.rows) : null;
    const code = inferred ? this.z : agent.method.context === "true" ? dmash.context(agent, world) : null;
    Object.assign(this, dmash.policy(agent, obs, code));
    const action = this.action.map(Math.fround);
    this.pending.push(action);
    const sigma = world.action_noise, sent = this.pending.shift();
    this.state = dmash.physics(this.state, sent.map((a) => clip(sigma ? a + sigma * this.noise.action() : a)), world);
    this.observe();
    this.rows = [...this.rows.slice(1), [...obs, ...action, ...this.obs.map((x, i) => Math.fround(x - obs[i]))]];
    this.last = this.state.reward;
    if (this.time >= 0) this.total += this.last;
    this.time += 1;
    if (this.time === 0) this.reset(this.start);
  }
};

// What an arm that knows its context is told: raw, or scaled to the training range.
dmash.context = ({ method, dimensions, context_range: [low, high] }, world) => {
  const c = dimensions.map((name) => world[name]);
  return method.scale_context ? c.map((v, i) => (v - low[i]) / (high[i] - low[i])) : c;
};

// ---- random numbers: mulberry32, and Box and Muller's normals; a seed and a stream give the same ones everywhere
dmash.uniforms = (seed, stream) => {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
};
dmash.normals = (seed, stream) => {
  const u = dmash.uniforms(seed, stream);
  return () => Math.sqrt(-2 * Math.log(1 - u())) * Math.cos(2 * Math.PI * u());
};
dmash.starts = (seed) => { // as in the benchmark: both |p_i| uniform on [0.8, 1]
  const u = dmash.uniforms(seed, 0), one = () => { const x = 0.4 * u() - 0.2; return x + Math.sign(x || 1) * 0.8; };
  return [[one(), one()], [one(), one()]];
};
