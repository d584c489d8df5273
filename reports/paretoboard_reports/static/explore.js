// Search, facets, sorting and pages over all runs. The columns stay typed arrays; only one page of rows is in the document.
(function () {
  "use strict";
  const { kinds } = window.paretoboard;
  const byId = (id) => document.getElementById(id);
  const FACETS = [
    ["task", "task", "Task"], ["family", "family", "Family"], ["model", "model", "Model"], ["backend", "backend", "Runtime"],
    ["profile", "profile", "Profile"], ["hw", "hardware_id", "Hardware"], ["status", "status", "Status"], ["place", "place", "Place"],
  ];
  const SEARCHED = ["recipe", "techniques", "task", "model", "dataset", "backend", "hardware", "status", "reason", "commit"];
  // cost: [column, heading, unit shown, factor]
  const COSTS = {
    latency: ["latency", "Latency", "ms", 1e3], size: ["file_size", "File", "kB", 1e-3], memory: ["peak_memory", "Memory", "MB", 1e-6],
    training: ["train_time", "Training", "s", 1], energy: ["energy", "Energy", "J", 1],
  };
  // What the table shows: [key of sort, column, heading, unit, factor, better direction]
  const SHOWN = [
    ["recipe", "recipe", "Recipe", "", 0, ""], ["task", "task", "Task", "", 0, ""], ["backend", "backend", "Runtime", "", 0, ""],
    ["hw", "hardware", "Hardware", "", 0, ""], ["status", "status", "Status", "", 0, ""],
    ["acc", "quality", "Quality", "%", 100, "↑"], ["lat", "latency", "Latency", "ms", 1e3, "↓"], ["ratio", "ratio", "Time", "× baseline", 1, "↓"],
    ["thr", "throughput", "Throughput", "images/s", 1, "↑"], ["size", "file_size", "File", "kB", 1e-3, "↓"],
    ["mem", "peak_memory", "Memory", "MB", 1e-6, "↓"], ["when", "started", "Started", "UTC", 1, ""],
  ];
  const SORTS = SHOWN.flatMap(([key]) => [key, "-" + key]);
  const MOST_CHOSEN = 5;
  const MOST_VALUES = 40; // of one facet that are listed; the document has to stay small
  const PAGES = [25, 50, 100];
  const KEY = /^r[0-9a-f]{16}(-[0-9a-f]{8})?$/;
  const selection = { ...kinds.list, read: (raw) => kinds.list.read(raw).filter((key) => KEY.test(key)).slice(0, MOST_CHOSEN) };

  let table, state, value, chosen, order;
  const columns = (name) => table.columns.get(name);

  function textOf(name, row) {
    const column = columns(name);
    if (column.kind === "words") return column.words[column.data[row]];
    if (column.kind === "bytes") return window.paretoboard.hex(column, row);
    const found = column.data[row];
    if (Number.isNaN(found)) return "";
    if (name === "started") return new Date(found * 1e3).toISOString().slice(0, 19).replace("T", " ");
    return column.type === "f4" ? String(Math.fround(found)) : String(found);
  }
  const keyOf = (row) => "r" + textOf("run", row) + "-" + textOf("measurement", row);

  // Filters

  // For each code of a column 1 where its word is wanted; null where all are.
  function wanted(name, values) {
    if (!values.length) return null;
    const found = new Set(values);
    return Uint8Array.from(columns(name).words, (word) => (found.has(word) ? 1 : 0));
  }

  function searched(text) {
    return text.toLowerCase().split(/\s+/).filter(Boolean).map((word) =>
      SEARCHED.map((name) => [columns(name).data, Uint8Array.from(columns(name).words, (each) => (each.toLowerCase().includes(word) ? 1 : 0))]));
  }

  // The rows that pass; `without` leaves one facet out, for the counts beside its own values.
  function passing() {
    const facets = FACETS.map(([key, name]) => [columns(name).data, wanted(name, value[key])]);
    const words = searched(value.q);
    const cost = COSTS[value.x];
    const costs = columns(cost[0]).data, most = value.max === null ? Infinity : value.max / cost[3];
    const qualities = columns("quality").data, least = value.min === null ? -Infinity : value.min / 100;
    const counts = FACETS.map(([, name]) => new Uint32Array(columns(name).words.length));
    const found = new Uint32Array(table.rows);
    let length = 0;
    for (let row = 0; row < table.rows; row++) {
      if (most < Infinity && !(costs[row] <= most)) continue;
      if (least > -Infinity && !(qualities[row] >= least)) continue;
      if (words.length && !words.every((places) => places.some(([data, hit]) => hit[data[row]]))) continue;
      let missed = -1, misses = 0;
      for (let i = 0; i < facets.length; i++) {
        const [data, hit] = facets[i];
        if (hit && !hit[data[row]]) {
          missed = i;
          if (++misses > 1) break;
        }
      }
      if (misses > 1) continue;
      // A row that only one facet keeps out still counts beside the values of that facet.
      if (misses === 1) counts[missed][facets[missed][0][row]]++;
      else {
        for (let i = 0; i < facets.length; i++) counts[i][facets[i][0][row]]++;
        found[length++] = row;
      }
    }
    return { rows: found.slice(0, length), counts: counts };
  }

  // Missing numbers come last both ways; rows that are alike stay in the order of time.
  function sorted(rows) {
    const descending = value.sort.startsWith("-");
    const [, name] = SHOWN.find(([key]) => key === value.sort.replace(/^-/, ""));
    const data = columns(name).data;
    const present = columns(name).kind === "number" ? rows.filter((row) => !Number.isNaN(data[row])) : rows.slice();
    const sign = descending ? -1 : 1;
    present.sort((a, b) => sign * (data[a] - data[b]) || a - b);
    if (present.length === rows.length) return present;
    const all = new Uint32Array(rows.length);
    all.set(present);
    all.set(rows.filter((row) => Number.isNaN(data[row])), present.length);
    return all;
  }

  // Document

  function make(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, found] of Object.entries(attributes)) {
      if (key in node && typeof found !== "string") node[key] = found;
      else node.setAttribute(key, found);
    }
    node.append(...children);
    return node;
  }

  function number(found, factor) {
    const scaled = found * factor;
    return scaled !== 0 && Math.abs(scaled) < 1 ? scaled.toPrecision(3) : scaled.toLocaleString("en", { maximumFractionDigits: Math.abs(scaled) < 100 ? 2 : 0 });
  }

  function half(row, name, factor) {
    const low = columns(name + "_low"), high = columns(name + "_high");
    if (!low || !Number.isFinite(low.data[row]) || !Number.isFinite(high.data[row])) return "";
    return " ± " + ((factor * (high.data[row] - low.data[row])) / 2).toPrecision(2);
  }

  function cell(row, [key, name, heading, unit, factor]) {
    const column = columns(name);
    if (column.kind === "words") {
      const text = textOf(name, row);
      if (key === "recipe") return make("th", { scope: "row" }, make("a", { href: "run.html#" + keyOf(row) }, text || "–"), make("small", {}, " seed " + textOf("seed", row)));
      const reason = key === "status" && text !== "ok" ? textOf("reason", row) : "";
      return make("td", reason ? { title: reason } : {}, text, ...(reason ? [make("small", {}, " " + reason.slice(0, 60))] : []));
    }
    if (key === "when") return make("td", { class: "num" }, textOf(name, row).slice(0, 16));
    if (Number.isNaN(column.data[row])) return make("td", { class: "num none" }, "–");
    const more = key === "acc" ? make("small", {}, " " + textOf("quality_metric", row)) : "";
    return make("td", { class: "num" }, number(column.data[row], factor) + half(row, name, factor), more);
  }

  function line(row) {
    const key = keyOf(row);
    const box = make("input", { type: "checkbox", value: key, "aria-label": "Choose " + textOf("recipe", row) + " for comparison" });
    box.checked = chosen.includes(key);
    box.disabled = !box.checked && chosen.length >= MOST_CHOSEN;
    return make("tr", { id: key }, make("td", {}, box), ...SHOWN.map((shown) => cell(row, shown)));
  }

  function drawRows() {
    const pages = Math.max(1, Math.ceil(order.length / value.n));
    const page = Math.min(value.page, pages);
    const first = (page - 1) * value.n;
    const rows = order.subarray(first, first + Number(value.n));
    byId("rows").replaceChildren(...Array.from(rows, line));
    byId("shown").textContent = `${order.length.toLocaleString("en")} of ${table.rows.toLocaleString("en")} shown`;
    byId("where").textContent = rows.length ? `Rows ${first + 1} to ${first + rows.length}, page ${page} of ${pages}` : "No row";
    byId("previous").disabled = page <= 1;
    byId("next").disabled = page >= pages;
    for (const head of byId("heads").querySelectorAll("th[data-key]")) {
      const key = head.dataset.key;
      if (value.sort === key) head.setAttribute("aria-sort", "ascending");
      else if (value.sort === "-" + key) head.setAttribute("aria-sort", "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  function drawChosen() {
    byId("chosen").textContent = chosen.length ? `${chosen.length} of at most ${MOST_CHOSEN} chosen` : "No run chosen";
    byId("compare").hidden = chosen.length < 2;
    byId("unchoose").hidden = !chosen.length;
    byId("compare").href = "compare.html#sel=" + chosen.join(",");
    for (const box of byId("rows").querySelectorAll("input")) {
      box.checked = chosen.includes(box.value);
      box.disabled = !box.checked && chosen.length >= MOST_CHOSEN;
    }
  }

  function facetLabel(key, column, code) {
    if (key !== "hw") return column.words[code] || "–";
    const row = column.data.indexOf(code);
    return `${textOf("hardware", row)} (${column.words[code]})`;
  }

  function drawFacets(counts) {
    const open = new Set([...byId("facets").querySelectorAll("details[open]")].map((each) => each.dataset.key));
    byId("facets").replaceChildren(...FACETS.map(([key, name, heading], at) => {
      const column = columns(name);
      const codes = column.words.map((_, code) => code).filter((code) => counts[at][code] || value[key].includes(column.words[code]));
      codes.sort((a, b) => value[key].includes(column.words[b]) - value[key].includes(column.words[a]) || counts[at][b] - counts[at][a] || a - b);
      const options = codes.slice(0, MOST_VALUES).map((code) => {
        const box = make("input", { type: "checkbox", name: key, value: column.words[code] });
        box.checked = value[key].includes(column.words[code]);
        return make("label", {}, box, facetLabel(key, column, code), make("small", {}, " " + counts[at][code].toLocaleString("en")));
      });
      if (codes.length > MOST_VALUES) options.push(make("small", {}, `${codes.length - MOST_VALUES} more: search for them`));
      const said = value[key].length ? `${heading}: ${value[key].length} chosen` : heading;
      const fold = make("details", { "data-key": key }, make("summary", {}, said), make("div", { role: "group", "aria-label": heading }, ...options));
      fold.open = open.has(key);
      return fold;
    }));
  }

  function drawControls() {
    for (const id of ["q", "min", "max", "x", "n"]) {
      const shown = value[id] === null ? "" : String(value[id]);
      if (byId(id).value !== shown && document.activeElement !== byId(id)) byId(id).value = shown;
    }
    byId("x-unit").textContent = COSTS[value.x][2];
  }

  function draw() {
    const found = passing();
    order = sorted(found.rows);
    drawControls();
    drawFacets(found.counts);
    drawRows();
    drawChosen();
  }

  // What people do

  function change(changes, typing) {
    const focused = document.activeElement;
    const place = focused && focused.name && focused.closest("#facets") ? [focused.name, focused.value] : null;
    value = { ...value, page: 1, ...changes };
    chosen = value.sel;
    state.save(value, typing);
    draw();
    if (place) {
      const again = [...byId("facets").querySelectorAll("input")].find((box) => box.name === place[0] && box.value === place[1]);
      if (again) again.focus();
    }
  }

  function sortBy(key) {
    // Numbers that are better when higher start with the highest; a third press goes back to the newest first.
    const steps = SHOWN.find(([each]) => each === key)[5] === "↑" || key === "when" ? ["-" + key, key] : [key, "-" + key];
    change({ sort: steps[steps.indexOf(value.sort) + 1] || "-when" });
  }

  function csv() {
    const names = [...table.columns.keys()];
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    // A spreadsheet would run what begins like a formula.
    const safe = (name, text) => (columns(name).kind === "words" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text);
    const head = names.map((name) => quoted(columns(name).unit ? `${name} [${columns(name).unit}]` : name)).join(",");
    const lines = Array.from(order, (row) => names.map((name) => quoted(safe(name, textOf(name, row)))).join(","));
    return [head, ...lines].join("\r\n") + "\r\n";
  }

  function download() {
    const link = make("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "paretoboard-runs.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function listen() {
    const limit = (node) => (node.value.trim() === "" || !Number.isFinite(Number(node.value)) ? null : Number(node.value));
    document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
    byId("q").addEventListener("input", () => change({ q: byId("q").value.slice(0, 200) }, true));
    for (const id of ["min", "max"]) byId(id).addEventListener("input", () => change({ [id]: limit(byId(id)) }, true));
    byId("x").addEventListener("change", () => change({ x: byId("x").value }));
    byId("n").addEventListener("change", () => change({ n: byId("n").value }));
    byId("facets").addEventListener("change", (event) => {
      const { name, value: word, checked } = event.target;
      change({ [name]: checked ? [...value[name], word] : value[name].filter((each) => each !== word) });
    });
    byId("heads").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) sortBy(button.parentNode.dataset.key);
    });
    byId("rows").addEventListener("change", (event) => {
      const key = event.target.value;
      chosen = event.target.checked ? [...chosen, key].slice(0, MOST_CHOSEN) : chosen.filter((each) => each !== key);
      value.sel = chosen;
      state.save(value);
      drawChosen();
    });
    byId("unchoose").addEventListener("click", () => change({ sel: [], page: value.page }));
    byId("previous").addEventListener("click", () => change({ page: value.page - 1 }));
    byId("next").addEventListener("click", () => change({ page: value.page + 1 }));
    byId("reset").addEventListener("click", () => {
      byId("q").value = byId("min").value = byId("max").value = "";
      const initial = {};
      for (const [key, kind] of Object.entries(STATE)) initial[key] = kind.initial();
      change(initial);
    });
    byId("csv").addEventListener("click", download);
  }

  const STATE = {
    q: kinds.text, ...Object.fromEntries(FACETS.map(([key]) => [key, kinds.list])), min: kinds.limit, max: kinds.limit,
    x: kinds.choice(Object.keys(COSTS), "latency"), sort: kinds.choice(SORTS, "-when"), page: kinds.count(1, 1e6),
    n: kinds.choice(PAGES.map(String), "50"), sel: selection,
  };

  async function start() {
    table = await window.paretoboard.table("explore");
    byId("x").append(...Object.entries(COSTS).map(([key, [, heading]]) => make("option", { value: key }, heading)));
    byId("n").append(...PAGES.map((count) => make("option", {}, String(count))));
    byId("heads").append(make("td", {}), ...SHOWN.map(([key, , heading, unit, , arrow]) =>
      make("th", { scope: "col", "data-key": key }, make("button", { type: "button" }, heading + (arrow ? " " + arrow : ""), ...(unit ? [make("small", {}, " " + unit)] : [])))));
    state = window.paretoboard.state(STATE, (found) => {
      value = found;
      chosen = value.sel;
      draw();
    });
    value = state.now();
    chosen = value.sel;
    listen();
    draw();
    byId("explore").hidden = false;
    performance.mark("explore-ready");
    document.documentElement.dataset.ready = "explore";
    window.paretoboard.csv = csv;
  }

  start().catch(function (error) {
    byId("trouble").textContent = "The runs could not be read: " + error.message;
    byId("trouble").hidden = false;
  });
})();
