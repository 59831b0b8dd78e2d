"use strict";
/* What the phase diagram tells where a reader points, the interactive chart of trajectories, and the copy button. Without
   it the page shows its pictures and tables. */
(() => {
  const MARGIN = { left: 52, right: 12, top: 10, bottom: 40 };
  const CEILING = 1e3; // of a value relative to its initial one: what diverges leaves the plot
  const SVG = "http://www.w3.org/2000/svg";

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    Object.assign(made, attributes);
    made.append(...children);
    return made;
  };
  const shape = (name, attributes, parent) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };
  const short = (value) => String(Number(value.toPrecision(3)));
  const constantName = (name) => [element("span", {}, name[0], element("sub", {}, name.slice(2)))];

  function copyButton() {
    const button = document.getElementById("copy");
    const yaml = document.getElementById("yaml");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(yaml.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(yaml);
        button.textContent = "Selected: copy with Ctrl+C";
      }
      setTimeout(() => (button.textContent = "Copy"), 3000);
    });
  }

  /* Ticks of a logarithmic axis: powers of ten, more digits where these are too few, even steps on a short range. */
  function ticks(low, high) {
    const decades = Math.log10(high / low);
    for (const digits of [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      const stride = digits.length > 1 ? 1 : Math.ceil(decades / 6);
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += stride) {
        for (const digit of digits) found.push(Number((digit * 10 ** power).toPrecision(1)));
      }
      const within = found.filter((value) => value >= low && value <= high);
      if (within.length >= 4) return within;
    }
    return evenTicks(low, high);
  }

  function evenTicks(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) found.push(Number((i * step).toPrecision(6)));
    return found;
  }

  function chart(data, place) {
    const first = data.initialisations[0];
    const chosen = { depth: first.depth, width: first.width, seed: first.seed };
    const names = ["depth", "width", "seed"];
    const selects = {};
    const controls = element("div", { className: "controls" });
    for (const name of names) {
      selects[name] = element("select", { name, id: `choose-${name}` });
      selects[name].addEventListener("change", () => {
        chosen[name] = Number(selects[name].value);
        choose();
      });
      controls.append(element("label", { htmlFor: `choose-${name}` }, name, selects[name]));
    }
    controls.append(colours(data));
    const constants = element("p", { id: "chosen-constants" });
    const plots = element("div", { className: "plots" });
    const values = element("div", { id: "values", className: "values", hidden: true });
    values.setAttribute("role", "status");
    const hint = element("p", { className: "note hint" }, "Point at a line for its values, or focus a plot and use the arrow "
      + "keys: up and down change c, left and right the step. Runs that answered their question early are short.");
    place.append(controls, constants, plots, hint, values);
    place.hidden = false;

    let shown, drawn, active;

    /* The choice, or the nearest one that there is; and what may be chosen. */
    function choose() {
      let rest = data.initialisations;
      for (const name of names) {
        const allowed = [...new Set(rest.map((entry) => entry[name]))].sort((a, b) => a - b);
        if (!allowed.includes(chosen[name])) chosen[name] = allowed[0];
        selects[name].replaceChildren(...allowed.map((value) => new Option(value, value)));
        selects[name].value = chosen[name];
        selects[name].disabled = allowed.length === 1;
        rest = rest.filter((entry) => entry[name] === chosen[name]);
      }
      shown = rest[0];
      const found = Object.entries(shown.constants).map(([name, value]) => [
        ...constantName(name), ` = ${value}${Number(value) ? ` (η = ${short(value * shown.rate_per_c)})` : ""}`]);
      constants.replaceChildren("This initialisation: ", ...(found.length
        ? found.flatMap((parts, index) => (index ? [", ", ...parts] : parts)) : ["constants not known"]));
      draw();
    }

    function draw() {
      leave();
      const width = Math.max(280, Math.min(plots.clientWidth, plots.clientWidth >= 860 ? plots.clientWidth / 2 - 10 : 900));
      drawn = [
        plot(shown, "loss", "Loss Lₜ", width, data),
        plot(shown, "sharpness", "Sharpness λₜ / λ₀", width, data),
      ];
      plots.replaceChildren(...drawn.map((one) => one.figure));
      for (const one of drawn) {
        one.svg.addEventListener("pointermove", (event) => point(one, event));
        one.svg.addEventListener("pointerdown", (event) => point(one, event));
        one.svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
        one.svg.addEventListener("blur", leave);
        one.svg.addEventListener("keydown", (event) => move(one, event));
      }
    }

    function point(one, event) {
      const box = one.svg.getBoundingClientRect();
      const scale = one.width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let nearest = null;
      let least = 60 ** 2;
      for (const candidate of one.points) {
        const distance = (candidate.x - x) ** 2 + (candidate.y - y) ** 2;
        if (distance < least) [nearest, least] = [candidate, distance];
      }
      if (nearest) show(one, nearest.run, nearest.index);
      else leave();
    }

    function move(one, event) {
      const [dRun, dStep] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [];
      if (event.key === "Escape") leave();
      if (dRun === undefined) return;
      event.preventDefault();
      const last = shown.runs.length - 1;
      const run = active ? Math.min(last, Math.max(0, active.run + dRun)) : 0;
      const steps = shown.runs[run].loss.length - 1;
      show(one, run, Math.min(steps, Math.max(0, (active ? active.index : 0) + dStep)));
    }

    function show(one, run, index) {
      active = { run, index };
      const { x, phase, loss, sharpness, steps, edge: edges } = shown.runs[run];
      const lambda = sharpness[index];
      const c = 2 ** x;
      const { words, constant } = data.edge;
      const edge = constant === null ? edges?.[index] ?? null : (constant * sharpness[0]) / c;
      values.replaceChildren(
        element("b", {}, `c = 2^${x} = ${short(c)}, η = ${short(c * shown.rate_per_c)}`),
        ...[phase, `step ${steps ? steps[index] : index}`, `loss ${loss[index] === null ? "not finite" : short(loss[index])}`,
          lambda === null ? "λ not measured" : `λ ${short(lambda)}, λ / λ₀ ${short(lambda / sharpness[0])}`,
          ...(edge === null ? [] : [`${words} ${short(edge)}, ${words} / λ₀ ${short(edge / sharpness[0])}`])]
          .flatMap((line) => [line, element("br")]));
      for (const each of drawn) each.mark(run, index);
      values.hidden = false;
      const scale = one.svg.getBoundingClientRect().width / one.width;
      putBeside(values, place, one.svg, one.at(run, index).map((value) => value * scale));
    }

    function leave() {
      active = null;
      values.hidden = true;
      for (const one of drawn ?? []) one.mark(null);
    }

    choose();
    let width = plots.clientWidth;
    new ResizeObserver(() => {
      if (plots.clientWidth !== width) {
        width = plots.clientWidth;
        draw();
      }
    }).observe(plots);

    /* Show a network, and of its first initialisation the run nearest to a c. */
    return (depth, width, c) => {
      Object.assign(chosen, { depth, width, seed: first.seed });
      choose();
      place.closest("section").scrollIntoView({ block: "start" });
      const distances = shown.runs.map((run) => Math.abs(run.x - Math.log2(c)));
      const run = distances.indexOf(Math.min(...distances));
      drawn[0].svg.focus({ preventScroll: true });
      show(drawn[0], run, Math.min(1, shown.runs[run].loss.length - 1));
    };
  }

  /* Put a box of values beside a point, where there is room, else above or below it, so that it is never covered. */
  function putBeside(values, place, drawing, [px, py]) {
    const outer = place.getBoundingClientRect();
    const inner = drawing.getBoundingClientRect();
    const [x0, y0] = [inner.left - outer.left + px, inner.top - outer.top + py];
    const [wide, high] = [values.offsetWidth, values.offsetHeight];
    const beside = [x0 + 16, x0 - wide - 16].find((left) => left >= 0 && left + wide <= outer.width);
    const above = py - high - 16 >= 0 ? y0 - high - 16 : y0 + 16;
    values.style.left = `${beside ?? Math.max(0, Math.min(x0 - wide / 2, outer.width - wide))}px`;
    values.style.top = `${beside === undefined ? above : y0 - Math.max(0, py + high - inner.height)}px`;
  }

  /* The phase diagram: what is at the c and the network that a reader points at; a click leads to its trajectories. */
  function diagram(data, place, lead) {
    const area = shape("svg", { tabindex: 0, role: "group", "aria-label": "Phase diagram; arrow keys read the phases: "
      + "left and right change c, up and down the network, Enter shows its trajectories" }, place);
    const ring = shape("circle", { class: "ring", r: 9, visibility: "hidden" }, area);
    const values = element("div", { className: "values", hidden: true });
    values.setAttribute("role", "status");
    place.append(values);
    place.after(element("p", { className: "note hint" }, "Point at the diagram for constants, phase and runs of the "
      + "nearest network; click for its trajectories."));
    const mix = (low, high, share) => low * (high / low) ** share;
    const share = (value, [low, high]) => Math.log(value / low) / Math.log(high / low);
    let active = null;

    /* Where a network is at a c, in pixels. */
    function pixels({ panel, network, c }) {
      const box = area.getBoundingClientRect();
      const [left, top, right, bottom] = panel.frame;
      return [(left + (right - left) * share(c, panel.c)) * box.width,
        (bottom + (top - bottom) * share(network.height, panel.heights)) * box.height];
    }

    function point(event) {
      const box = area.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      const panel = data.panels.find(({ frame: [left, top, right, bottom] }) => x >= left && x <= right && y >= top && y <= bottom);
      if (!panel) return leave();
      const [left, , right] = panel.frame;
      const c = mix(...panel.c, (x - left) / (right - left));
      const far = panel.networks.map((network) => Math.abs(pixels({ panel, network, c })[1] - y * box.height));
      show({ panel, network: panel.networks[far.indexOf(Math.min(...far))], c });
    }

    function show(here) {
      active = here;
      const { network, c } = here;
      const eta = network.rate_per_c === null ? "" : `, η = ${short(c * network.rate_per_c)}`;
      const [phase] = network.phases.find(([, end]) => end < 0 || c < end);
      const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
      values.replaceChildren(
        element("b", {}, `depth ${network.depth}, width ${network.width}`),
        ...[[`c = ${short(c)}${eta}: ${phase}`],
          ...Object.entries(network.constants).map(([name, told]) => [...constantName(name), ` = ${told}`]),
          [`${network.lambda_0 === null ? "" : `λ₀ = ${short(network.lambda_0)}, `}${count(network.seeds, "initialisation")}, ${count(network.runs, "run")}`]]
          .flatMap((line) => [...line, element("br")]));
      values.hidden = false;
      const at = pixels(here);
      ring.setAttribute("cx", at[0]);
      ring.setAttribute("cy", at[1]);
      ring.setAttribute("visibility", "visible");
      putBeside(values, place, area, at);
    }

    function leave() {
      active = null;
      values.hidden = true;
      ring.setAttribute("visibility", "hidden");
    }

    function move(event) {
      const [dNetwork, dC] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [];
      if (event.key === "Escape") leave();
      if (event.key === "Enter" && active && lead) go();
      if (dNetwork === undefined) return;
      event.preventDefault();
      const all = data.panels.flatMap((panel) => panel.networks.map((network) => ({ panel, network })));
      const index = active ? all.findIndex(({ network }) => network === active.network) : 0;
      const next = all[Math.min(all.length - 1, Math.max(0, index + (active ? dNetwork : 0)))];
      const [low, high] = next.panel.c;
      const c = active ? active.c * 2 ** (0.1 * dC) : Math.sqrt(low * high);
      show({ ...next, c: Math.min(high, Math.max(low, c)) });
    }

    function go() {
      const { network, c } = active;
      leave();
      lead(network.depth, network.width, c);
    }

    area.addEventListener("pointermove", point);
    area.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
    area.addEventListener("click", (event) => {
      point(event);
      if (active && lead) go();
    });
    area.addEventListener("blur", leave);
    area.addEventListener("keydown", move);
  }

  const position = (c, [low, high]) => (high > low ? Math.log(c / low) / Math.log(high / low) : 0.5);

  function colours(data) {
    const [low, high] = data.range;
    const scale = element("div", { id: "scale" });
    for (const kind of ["light", "dark"]) {
      scale.style.setProperty(`--on-${kind}`, `linear-gradient(to right, ${data[kind].join(", ")})`);
    }
    const marks = element("div", { className: "ticks" });
    const octaves = [];
    for (let power = Math.ceil(Math.log2(low) - 1e-9); power <= Math.log2(high) + 1e-9; power++) octaves.push(2 ** power);
    const stride = Math.ceil(octaves.length / 8);
    for (const c of octaves.filter((_, index) => index % stride === 0)) {
      const mark = element("span", {}, String(c));
      mark.style.left = `${100 * position(c, data.range)}%`;
      marks.append(mark);
    }
    return element("div", { className: "colours" }, `colour: c = ${data.edge.c_in_words}`, scale, marks);
  }

  /* One plot: lines, axes, and where every point is. */
  function plot(initialisation, quantity, title, width, data) {
    const height = Math.round(Math.min(340, 0.72 * width));
    const runs = initialisation.runs;
    const relative = quantity === "sharpness";
    const value = (run, index) => {
      const raw = runs[run][quantity][index];
      return raw === null || !(raw > 0) ? null : relative ? raw / runs[run][quantity][0] : raw;
    };
    const step = (run, index) => (runs[run].steps ? runs[run].steps[index] : index);
    const initial = value(0, 0);
    let low = initial, high = initial, last = 1;
    runs.forEach((run, at) => run.loss.forEach((_, index) => {
      const here = value(at, index);
      last = Math.max(last, step(at, index));
      if (here === null) return;
      low = Math.min(low, here);
      high = Math.max(high, Math.min(here, CEILING * initial));
    }));
    const pad = Math.max(1.05, (high / low) ** 0.05);
    [low, high] = [low / pad, high * pad];

    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const along = data.logarithmic ? (t) => Math.log1p(t) / Math.log1p(last) : (t) => t / last;
    const x = (t) => MARGIN.left + inner.width * along(t);
    const y = (v) => MARGIN.top + inner.height * (1 - Math.log(v / low) / Math.log(high / low));

    const figure = element("div", { className: "plot" }, element("h3", {}, title));
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "group",
      "aria-label": `${title} over the steps of ${runs.length} runs; arrow keys read values` }, figure);
    for (const tick of ticks(low, high)) {
      shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }, svg);
      shape("text", { x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, svg).textContent =
        tick >= 1e4 || tick < 1e-3 ? tick.toExponential(0) : String(tick);
    }
    const times = data.logarithmic ? [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter((t) => t <= last) : evenTicks(0, last);
    for (const tick of times.filter(Number.isInteger)) {
      shape("text", { x: x(tick), y: height - 22, "text-anchor": "middle" }, svg).textContent = String(tick);
    }
    shape("text", { x: MARGIN.left + inner.width / 2, y: height - 5, "text-anchor": "middle" }, svg).textContent = "step t";
    const clip = shape("clipPath", { id: `clip-${quantity}` }, svg);
    shape("rect", { x: MARGIN.left - 4, y: MARGIN.top, width: inner.width + 8, height: inner.height }, clip);
    shape("line", { class: "level", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(initial), y2: y(initial) }, svg);
    const area = shape("g", { "clip-path": `url(#clip-${quantity})` }, svg);

    const points = [];
    const lines = runs.map((run, at) => {
      const seen = run.loss.map((_, index) => index).filter((index) => value(at, index) !== null);
      const shade = Math.round(position(2 ** run.x, data.range) * (data.light.length - 1));
      const style = `--light: ${data.light[shade]}; --dark: ${data.dark[shade]}`;
      const line = shape("g", {}, area);
      const apart = relative ? run.apart ?? [] : [];
      const parts = [[]];
      seen.forEach((index, k) => {
        // Nothing is joined where nothing was measured.
        if (k && apart.some((begin) => step(at, seen[k - 1]) < begin && begin <= step(at, index))) parts.push([]);
        parts.at(-1).push(`${x(step(at, index)).toFixed(1)},${y(value(at, index)).toFixed(1)}`);
      });
      for (const part of parts) shape("polyline", { class: "run", points: part.join(" "), style }, line);
      for (const index of seen) {
        const here = { run: at, index, x: x(step(at, index)), y: y(value(at, index)) };
        if (here.y >= MARGIN.top) points.push(here);
        if (seen.length <= 40) shape("circle", { class: "run", cx: here.x, cy: here.y, r: 2.4, style }, line);
      }
      return line;
    });
    const threshold = relative ? shape("line", { class: "threshold", x1: MARGIN.left, x2: width - MARGIN.right }, area) : null;
    threshold?.setAttribute("visibility", "hidden");
    const mark = shape("circle", { class: "mark", r: 5, visibility: "hidden" }, svg);

    const at = (run, index) => {
      const here = value(run, index);
      return [x(step(run, index)), here === null ? MARGIN.top : Math.max(MARGIN.top, y(here))];
    };
    return {
      figure, svg, width, points, at,
      mark(run, index) {
        area.classList.toggle("faded", run !== null);
        lines.forEach((line, number) => {
          for (const part of line.children) part.classList.toggle("chosen", number === run);
        });
        const here = run === null ? null : value(run, index);
        mark.setAttribute("visibility", here === null ? "hidden" : "visible");
        if (here !== null) {
          const [cx, cy] = at(run, index);
          mark.setAttribute("cx", cx);
          mark.setAttribute("cy", cy);
        }
        if (threshold) {
          threshold.setAttribute("visibility", run === null ? "hidden" : "visible");
          if (run !== null) for (const end of ["y1", "y2"]) threshold.setAttribute(end, y(data.edge.constant / 2 ** runs[run].x));
        }
      },
    };
  }

  copyButton();
  const stored = document.getElementById("chart-data");
  const data = stored && JSON.parse(stored.textContent);
  const lead = data && chart(data, document.getElementById("chart"));
  const picture = document.getElementById("phase-diagram");
  if (picture && data?.diagram) diagram(data.diagram, picture, lead);
})();
